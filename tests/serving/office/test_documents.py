"""Decision pages, drift reports, data docs and the story behind the log-in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flows.stack.control import Stack
from registry.core import database
from tests.browsers import PHONE, Visitor

pytestmark = pytest.mark.slow

AsRole = Callable[[str], Visitor]
MODEL = "fruit_features"
SCRIPT = """<!doctype html><html lang="en"><title>Evidently</title><style>h1 {color: green}</style><h1>Report</h1>
<script>let cookies = "none"; try { cookies = document.cookie } catch (error) {}
document.title = `${self.origin} ${cookies}`</script></html>"""
PAGE = """<!doctype html><html lang="en"><title>Page</title><style>h1 {color: rgb(1, 2, 3)}</style><h1>A page</h1>
<img src="data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==" alt="dot"></html>"""


@pytest.fixture
def pages(project: Path, web: str) -> Iterator[Path]:
    """A decision, a verdict with drift, and a data check, as the loop leaves them."""
    var = project / "var"
    decision = var / "decisions" / MODEL / "abc.html"
    report = var / "reports" / MODEL / "0123456789ab" / "index.html"
    check = var / "data-docs" / "validations" / MODEL / "__none__" / "20261130T100000Z" / f"{MODEL}.html"
    for page in (decision, report, check):
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(PAGE)
    granted = {"challenger": 3, "granted": True, "summary": "better by far", "digest": "", "created": "2026-11-30"}
    decision.with_suffix(".json").write_text(json.dumps(granted))
    check.with_suffix(".json").write_text(json.dumps({"passed": False, "summary": "2 of 9 checks failed"}))
    (report.parent / "verdict.json").write_text(json.dumps({"version": 2, "drifted": True, "why": "too dark"}))
    (report.parent / "report.html").write_text(SCRIPT)
    (report.parent / "responsible-1.jpg").write_bytes(_picture())
    database.renew_connection()
    from monitoring.log.models import Verdict

    verdict = Verdict.objects.create(
        id="0123456789ab", time=datetime.now(UTC), model=MODEL, version=2, predictions=200, labels=0, drifted=True,
        action="label", why="too dark", folder=f"reports/{MODEL}/0123456789ab",
    )  # fmt: skip
    yield var
    verdict.delete()


def _picture() -> bytes:
    import cv2
    import numpy as np

    return bytes(cv2.imencode(".jpg", np.full((90, 120, 3), 40, np.uint8))[1])


def test_a_viewer_reads_every_kind_of_page(pages: Path, as_role: AsRole) -> None:
    visitor = as_role("viewer")
    page = visitor.page
    visitor.open("/office/documents/")
    for name, badge in (("version 3", "granted"), ("version 2", "drift"), (MODEL, "failed")):
        row = page.locator(".office-row", has_text=badge).filter(has_text=name)
        row.first.get_by_role("link").click()
        page.get_by_role("heading", name="A page").wait_for()
        colour = "() => getComputedStyle(document.querySelector('h1')).color"
        assert page.evaluate(colour) == "rgb(1, 2, 3)"
        visitor.open("/office/documents/")
    page.get_by_role("link", name="Drift reports").click()
    page.get_by_label("Model").select_option("weapon_detection")
    page.get_by_role("button", name="Show").click()
    page.get_by_text("None yet.").wait_for()


def test_scripts_of_a_report_reach_nothing(pages: Path, as_role: AsRole) -> None:
    visitor = as_role("viewer")
    visitor.open(f"/office/documents/reports/{MODEL}/0123456789ab/report.html")
    assert visitor.page.title() == "null none"
    visitor.open(f"/office/documents/reports/{MODEL}/0123456789ab/index.html")
    assert visitor.page.title() == "Page"


def test_drift_is_on_the_front_page_with_its_pictures(pages: Path, as_role: AsRole) -> None:
    visitor = as_role("viewer")
    visitor.open("/office/")
    picture = visitor.page.locator("#drift img").first
    picture.wait_for()
    assert picture.evaluate("one => one.naturalWidth") == 120
    visitor.page.get_by_text("Drift in").first.wait_for()


@pytest.mark.parametrize(
    "path", ["decisions/../visionloop.db", "decisions/%2e%2e/visionloop.db", "keys/sessions", "decisions/nothing.html"]
)
def test_nothing_else_can_be_read(pages: Path, as_role: AsRole, path: str) -> None:
    visitor = as_role("administrator")
    answer = visitor.page.request.get(f"{visitor._address}/office/documents/{path}")
    assert answer.status == 404


def test_the_story_is_behind_the_log_in(stack: Stack, as_role: AsRole) -> None:
    visitor = as_role("viewer")
    visitor.open("/office/documents/")
    visitor.page.get_by_role("link", name="Read it").click()
    visitor.page.get_by_text("visionloop").first.wait_for()
    assert visitor.page.url.endswith("/office/story/")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_index_has_no_serious_fault(pages: Path, as_role: AsRole, scheme: str) -> None:
    visitor: Any = as_role("viewer")
    visitor.page.emulate_media(color_scheme=scheme)
    visitor.page.set_viewport_size(PHONE)
    for path in ("documents/", "documents/decisions/", ""):
        visitor.open(f"/office/{path}")
        visitor.page.locator("h1").wait_for()
        assert visitor.axe() == [], path
        assert visitor.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), path
