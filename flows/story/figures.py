"""Figures of the story page, drawn with plain HTML bars: they take the page's colours in light and dark, stay legible
on a phone, can be read aloud, and need no file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from flows.story.story import Step, walk


def before_after(compare: Mapping[str, Any]) -> Markup:
    """Two bars a row, before and after, with their values; the scale ends at 1 or at the largest value."""
    rows = [row for row in compare.get("rows", []) if isinstance(row, Mapping)]
    metric = str(compare.get("metric") or "")
    labels = {key: str(compare.get(key) or key) for key in ("before", "after")}
    values = [float(row[key]) for row in rows for key in labels if row.get(key) is not None]
    top = max(values, default=1.0)
    top = 1.0 if top <= 1 else top
    out = []
    for row in rows:
        for key, label in labels.items():
            value = row.get(key)
            name = str(row.get("name", "")) if key == "before" else ""
            told = "none" if value is None else f"{float(value):.3f}"
            share = 0.0 if value is None else float(value) / top
            out.append(_bar(name, share, told, key, f"{row.get('name', '')}, {label}: {told}"))
    legend = (
        f'<div class="legend"><span class="key before"></span>{escape(labels["before"])}'
        f'<span class="key after"></span>{escape(labels["after"])}<span class="metric">{escape(metric)}</span></div>'
    )
    return Markup(f'{legend}<div class="bars pairs">{"".join(out)}</div>')


def timings(steps: Sequence[Step]) -> Markup:
    """One bar a step that took time, to scale."""
    rows = [
        step for step in walk(steps) if step.state in ("done", "failed") and step.seconds >= 0.05 and not step.parts
    ]
    if not rows:
        return Markup("")
    longest = max(step.seconds for step in rows)
    bars = (
        _bar(
            step.title,
            step.seconds / longest,
            duration(step.seconds),
            step.state,
            f"{step.title}: {step.seconds:.1f} s",
        )
        for step in rows
    )
    return Markup(f'<div class="bars">{"".join(bars)}</div>')


def duration(seconds: float) -> str:
    """3.2 s, 47 s, 2 min 05 s."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _bar(name: str, share: float, value: str, kind: str, spoken: str) -> str:
    width = min(max(100 * share, 0.4), 100) if share > 0 else 0
    return (
        f'<div class="row {escape(kind)}" role="img" aria-label="{escape(spoken)}">'
        f'<span class="name">{escape(name)}</span>'
        f'<span class="lane"><i style="width:{width:.1f}%"></i></span><span class="value">{escape(value)}</span></div>'
    )
