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
    rows, labels = compare["rows"], {key: compare[key] for key in ("before", "after")}
    top = max(1.0, *(row[key] for row in rows for key in labels))
    bars = "".join(
        _bar(
            row["name"] if key == "before" else "",
            row[key] / top,
            f"{row[key]:.3f}",
            key,
            f"{row['name']}, {label}: {row[key]:.3f}",
        )
        for row in rows
        for key, label in labels.items()
    )
    legend = (
        f'<div class="legend"><span class="key before"></span>{escape(labels["before"])}<span class="key after"></span>'
        f'{escape(labels["after"])}<span class="metric">{escape(compare["metric"])}</span></div>'
    )
    return Markup(f'{legend}<div class="bars pairs">{bars}</div>')


_WIDE, _HIGH = 340, 130


def curves(history: Sequence[Mapping[str, Any]]) -> Markup:
    """Learning curves: losses in one panel, the other figures of the validation split in another."""
    if len(history) < 2:
        return Markup("")
    losses = [name for name in history[0] if name.endswith("loss")]
    others = [name for name in history[0] if name.startswith("val_") and name not in losses]
    return Markup(f'<div class="curves">{"".join(_panel(names, history) for names in (losses, others) if names)}</div>')


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
    rows = [one for one in walk(steps) if one.state in ("done", "failed") and one.seconds >= 0.05 and not one.parts]
    longest = max((one.seconds for one in rows), default=0.0)
    bars = (
        _bar(one.title, one.seconds / longest, duration(one.seconds), one.state, f"{one.title}: {one.seconds:.1f} s")
        for one in rows
    )
    return Markup(f'<div class="bars">{"".join(bars)}</div>' if rows else "")


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
