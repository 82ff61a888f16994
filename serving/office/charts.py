"""Charts as SVG, drawn here: no script, and no style but classes. Each has a table of its numbers beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy, pgettext_lazy

from registry.contract import catalog
from serving.accounts.models import Role
from serving.office.roles import least
from serving.operations import series
from serving.operations.series import Chart
from serving.translation import specs

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 440, 180, 44, 22, 10
TITLES = {
    "requests": gettext_lazy("Requests"),
    "errors": gettext_lazy("Errors, and requests that were refused because too many waited"),
    "latency": gettext_lazy("Latency, ms"),
    "classes": gettext_lazy("Shares of the classes"),
    "drift": gettext_lazy("Drift scores; above 1 the monitor alarms"),
    "feedback": gettext_lazy("Mean score of labelled predictions"),
}
LINES = {
    "requests": gettext_lazy("requests"),
    "errors": gettext_lazy("errors"),
    "refused": pgettext_lazy("requests", "refused"),
    "score": gettext_lazy("score"),
    "data": gettext_lazy("inputs"),
    "prediction": gettext_lazy("answers"),
    "embedding": gettext_lazy("features"),
}
SPANS = {"day": gettext_lazy("a day"), "week": gettext_lazy("a week"), "month": gettext_lazy("30 days")}


@least(Role.VIEWER)
def page(request: HttpRequest) -> HttpResponseBase:
    """The charts of a span, of all models or of one."""
    span, model = request.GET.get("span", ""), request.GET.get("model", "")
    span, model = span if span in SPANS else "day", model if model in catalog.names() else ""
    shown = [
        {
            "title": TITLES[chart.name],
            "svg": "" if chart.is_empty else draw(chart),
            "names": [(n % 6 + 1, LINES.get(name, name)) for n, name in enumerate(chart.lines)],
            "rows": list(zip(chart.times, *chart.lines.values(), strict=False)),
        }
        for chart in series.charts(span, model)
    ]
    models = [(spec.name, spec.title) for spec in specs.all_specs()]
    context = {"charts": shown, "spans": list(SPANS.items()), "span": span, "models": models, "model": model}
    return render(request, "office/charts.html", context)


def draw(chart: Chart) -> SafeString:
    """The lines over a grid of three values. `aria-label` names the chart; the table beside it has the numbers."""
    known = [value for line in chart.lines.values() for value in line if value is not None]
    top = _round_up(max([*known, chart.limit or 0]) or 1.0)
    levels = [(_y(top * part, top), _short(top * part)) for part in (0, 0.5, 1)]
    grid = format_html_join(
        "",
        '<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/><text x="{}" y="{}" text-anchor="end">{}</text>',
        ((LEFT, WIDTH, y, y, LEFT - 6, y + 4, text) for y, text in levels),
    )
    limit = format_html(
        '<line class="limit" x1="{}" x2="{}" y1="{}" y2="{}"/>', LEFT, WIDTH, *[_y(chart.limit, top)] * 2
    ) if chart.limit is not None else ""  # fmt: skip
    lines = format_html_join("", "{}", ((_line(n % 6 + 1, line, top),) for n, line in enumerate(chart.lines.values())))
    count = len(chart.times)
    ticks = format_html_join(
        "",
        '<text x="{}" y="{}" text-anchor="{}">{}</text>',
        (
            (_x(n, count), HEIGHT - 4, anchor, _when(chart, n))
            for n, anchor in ((0, "start"), (count // 2, "middle"), (count - 1, "end"))
        ),
    )
    return format_html(
        '<svg class="office-chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}{}</svg>',
        WIDTH, HEIGHT, TITLES[chart.name], grid, limit, lines, ticks,
    )  # fmt: skip


def _line(number: int, values: Sequence[float | None], top: float) -> SafeString:
    """A line with a gap where nothing is known; a point for a value between two gaps."""
    runs: list[list[tuple[float, float]]] = [[]]
    for n, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((_x(n, len(values)), _y(value, top)))
    drawn: list[Any] = []
    for run in runs:
        if len(run) == 1:
            drawn.append(format_html('<circle class="line-{}" cx="{}" cy="{}" r="2.5"/>', number, *run[0]))
        elif run:
            points = " ".join(f"{x},{y}" for x, y in run)
            drawn.append(format_html('<polyline class="line-{}" points="{}"/>', number, points))
    return format_html_join("", "{}", ((one,) for one in drawn))


def _x(n: int, count: int) -> float:
    return round(LEFT + (WIDTH - LEFT - 4) * n / max(count - 1, 1), 1)


def _y(value: float, top: float) -> float:
    return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top), 1)


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, ... at or above a value."""
    power = 1e-9
    while power * 10 < value:
        power *= 10
    return next(power * step for step in (1, 2, 5, 10) if power * step >= value * 0.999)


def _short(value: float) -> str:
    if value >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:.3g}"


def _when(chart: Chart, n: int) -> str:
    hours = (chart.times[-1] - chart.times[0]).total_seconds() / 3600
    return f"{chart.times[n]:%H:%M}" if hours < 36 else f"{chart.times[n]:%d.%m.}"
