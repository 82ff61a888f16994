"""Charts of the back office from rows of the database."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from registry.core import database
from tests.browsers import PHONE, Visitor

pytestmark = pytest.mark.slow

AsRole = Callable[[str], Visitor]
MODEL = "fruit_features"


@pytest.fixture
def busy(web: str) -> Iterator[None]:
    """Two hours with traffic, answers, a verdict above its threshold and two labels; a copy to a shadow besides."""
    database.renew_connection()
    from monitoring.log.models import Feedback, Prediction, Verdict
    from serving.releases.models import Traffic

    now = datetime.now(UTC)
    for hours, calls, errors, role in ((2, 30, 0, "live"), (1, 50, 5, "live"), (1, 999, 0, "shadow")):
        Traffic.objects.create(
            router="r", model=MODEL, version=1, role=role, revision=1, minute=now - timedelta(hours=hours),
            calls=calls, errors=errors, latencies={"100": calls},
        )  # fmt: skip
    kept = [
        Prediction.objects.create(
            id=uuid.uuid4().hex, time=now - timedelta(hours=1), model=MODEL, version=1, role="live", latency_ms=9,
            outcome="ok", status=200, prediction_statistics={"p_apple": share, "p_pear": 1 - share, "margin": 0.5},
        )
        for share in (0.25, 0.75)
    ]  # fmt: skip
    for one, score in zip(kept, (0.0, 1.0), strict=True):
        Feedback.objects.create(prediction=one, time=now, score=score)
    tests = [{"kind": "data", "statistic": 0.6, "threshold": 0.4, "p": 0.001, "level": 0.01}]
    verdict = Verdict.objects.create(
        id="feedfeedfeed", time=now - timedelta(hours=1), model=MODEL, version=1, predictions=200, labels=2,
        drifted=True, action="label", why="too dark", finding={"distributions": {"tests": tests}},
    )  # fmt: skip
    yield
    verdict.delete()
    for one in kept:
        one.delete()
    Traffic.objects.filter(model=MODEL).delete()


def _numbers(page: object, title: str) -> list[float]:
    """The numbers in a chart's table, row by row."""
    section = page.locator("section", has=page.get_by_role("heading", name=title, exact=title == "Requests"))  # type: ignore[attr-defined]
    cells = section.locator("tbody td").all_text_contents()
    return [float(text) for text in cells if text != "–"]


def test_the_charts_show_what_happened(busy: None, as_role: AsRole) -> None:
    visitor = as_role("viewer")
    visitor.open(f"/office/charts/?model={MODEL}")
    page = visitor.page
    assert page.locator("svg.office-chart").count() == 6
    assert _numbers(page, "Requests") == [30, 50]
    assert _numbers(page, "Errors") == [0, 0, 5, 0]
    assert _numbers(page, "Shares of the classes") == [0.5, 0.5]
    assert _numbers(page, "Drift scores") == [1.5]
    assert _numbers(page, "Mean score") == [0.5]
    assert len(set(_numbers(page, "Latency"))) == 1
    page.get_by_label("How far back").select_option("month")
    page.get_by_label("Model").select_option("weapon_detection")
    page.get_by_role("button", name="Show").click()
    page.get_by_text("Nothing in this time.").first.wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_charts_have_no_serious_fault(busy: None, as_role: AsRole, scheme: str) -> None:
    visitor = as_role("viewer")
    visitor.page.emulate_media(color_scheme=scheme)
    visitor.page.set_viewport_size(PHONE)
    visitor.open(f"/office/charts/?model={MODEL}")
    visitor.page.locator("svg.office-chart").first.wait_for()
    assert visitor.axe() == []
    assert visitor.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
