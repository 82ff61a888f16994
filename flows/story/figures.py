"""Figures of the story page as inline SVG: they take the page's colours, in light and dark, and need no file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from flows.story.story import Step, walk

_WIDTH = 720


def before_after(compare: Mapping[str, Any]) -> Markup:
    """Two bars a row, before and after, labelled with their values. Values between 0 and 1 fill the scale."""
    rows = [row for row in compare.get("rows", []) if isinstance(row, Mapping)]
    metric, first, second = (
        str(compare.get(key) or word)
        for key, word in (("metric", ""), ("before", "before"), ("after", "after"))
    )  # fmt: skip
    values = [float(row[key]) for row in rows for key in ("before", "after") if row.get(key) is not None]
    top = 1.0 if values and max(values) <= 1 else max(values, default=1.0) or 1.0
    left, bar, gap = 190, 18, 22
    scale = (_WIDTH - left - 70) / top
    out, y = [], 8
    for row in rows:
        out.append(_text(left - 12, y + bar + 5, str(row.get("name", "")), "end", "name"))
        for key, label, kind in (("before", first, "before"), ("after", second, "after")):
            value = row.get(key)
            if value is None:
                out.append(_text(left + 4, y + 13, f"{label}: none", "start", "value"))
            else:
                width = max(2.0, float(value) * scale)
                out.append(f'<rect class="{kind}" x="{left}" y="{y}" width="{width:.1f}" height="{bar}" rx="3"/>')
                out.append(_text(left + width + 8, y + 14, f"{float(value):.3f}", "start", "value"))
            y += bar + 3
        y += gap - 3
    label = f"{metric} {first} and {second}"
    legend = (
        f'<div class="legend"><span class="key before"></span>{escape(first)}'
        f'<span class="key after"></span>{escape(second)}<span class="metric">{escape(metric)}</span></div>'
    )
    return Markup(f"{legend}{_svg(label, max(y, 30), out)}")


def timings(steps: Sequence[Step]) -> Markup:
    """One bar a step that took time, to scale."""
    rows = [s for s in walk(steps) if s.state in ("done", "failed") and s.seconds >= 0.05 and not s.parts]
    if not rows:
        return Markup("")
    longest = max(step.seconds for step in rows)
    left, bar, pitch = 250, 14, 25
    scale = (_WIDTH - left - 80) / longest
    out = []
    for index, step in enumerate(rows):
        y = 6 + index * pitch
        width = max(2.0, step.seconds * scale)
        name = step.title if len(step.title) <= 34 else step.title[:33] + "…"
        out.append(_text(left - 12, y + 12, name, "end", "name"))
        out.append(f'<rect class="{step.state}" x="{left}" y="{y}" width="{width:.1f}" height="{bar}" rx="3"/>')
        out.append(_text(left + width + 8, y + 12, duration(step.seconds), "start", "value"))
    return _svg("seconds per step", 12 + len(rows) * pitch, out)


def duration(seconds: float) -> str:
    """3.2 s, 47 s, 2 min 05 s."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _text(x: float, y: float, text: str, anchor: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(label: str, height: float, parts: Sequence[str]) -> Markup:
    return Markup(
        f'<svg class="figure" viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )
