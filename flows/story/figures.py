"""Figures of the story page, as plain HTML bars and SVG lines.

They take the page's colours in light and dark, are legible on a phone, can be read aloud, and need no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from flows.story.story import Step, walk


def before_after(compare: Mapping[str, Any]) -> Markup:
    """Two bars per row, before and after, with their values. The scale ends at 1, or at the largest value above."""
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
            text = "none" if value is None else f"{float(value):.3f}"
            share = 0.0 if value is None else float(value) / top
            out.append(_bar(name, share, text, key, f"{row.get('name', '')}, {label}: {text}"))
    legend = (
        f'<div class="legend"><span class="key before"></span>{escape(labels["before"])}'
        f'<span class="key after"></span>{escape(labels["after"])}<span class="metric">{escape(metric)}</span></div>'
    )
    return Markup(f'{legend}<div class="bars pairs">{"".join(out)}</div>')


_WIDE, _HIGH = 340, 130


def curves(history: Sequence[Mapping[str, Any]]) -> Markup:
    """Learning curves: losses in one panel, the other figures of the validation split in another."""
    rows = [row for row in history if isinstance(row, Mapping)]
    names = [name for name in (rows[0] if rows else {}) if name.endswith("loss") or name.startswith("val_")]
    panels = (
        [name for name in names if name.endswith("loss")],
        [name for name in names if not name.endswith("loss")],
    )
    drawn = "".join(_panel(panel, rows) for panel in panels if panel)
    return Markup(f'<div class="curves">{drawn}</div>' if len(rows) > 1 and drawn else "")


def _panel(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    series = {name: [float(row[name]) for row in rows if name in row] for name in names}
    values = [value for line in series.values() for value in line]
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    lines, legend = [], []
    for index, (name, line) in enumerate(series.items()):
        step = _WIDE / max(1, len(line) - 1)
        points = " ".join(f"{i * step:.1f},{_HIGH - (v - low) / span * _HIGH:.1f}" for i, v in enumerate(line))
        lines.append(f'<polyline class="line{index}" points="{points}"/>')
        legend.append(f'<span class="line{index}">{escape(name.replace("_", " "))} {line[-1]:.3f}</span>')
    label = f"{', '.join(names)} over {len(rows)} epochs, from {low:.3g} to {high:.3g}"
    return (
        f'<div><svg viewBox="-3 -3 {_WIDE + 6} {_HIGH + 6}" role="img" aria-label="{escape(label)}">{"".join(lines)}'
        f'</svg><p class="legend">{"".join(legend)}<span class="metric">{len(rows)} epochs</span></p></div>'
    )


def timings(steps: Sequence[Step]) -> Markup:
    """One bar per step that took time, to scale."""
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
