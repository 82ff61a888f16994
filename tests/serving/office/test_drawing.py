"""The lines of a chart, as SVG."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from registry.core import database


def test_a_line_of_zeros_has_a_scale_that_people_read(project: Path) -> None:
    database.setup()
    from serving.office import charts
    from serving.operations.series import Chart

    times = [datetime(2026, 11, 30, hour, tzinfo=UTC) for hour in (1, 2)]
    drawn = charts.draw(Chart("errors", times, {"errors": [0.0, 0.0]}))
    assert ">1</text>" in drawn
    assert ">0.5</text>" in drawn
