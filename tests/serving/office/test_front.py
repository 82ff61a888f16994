"""The front page of the back office in a real browser, with a real supervisor."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import signal
import time
from collections.abc import Callable

from flows.stack.control import Stack
from monitoring.log import spool
from registry.core import database
from serving.releases import deploy, endpoints
from tests.browsers import DESKTOP, PHONE, SCHEMES, Visitor
from tests.bundles import MODEL
from tests.waiting import until

AsRole = Callable[[str], Visitor]


def test_a_part_that_is_away_is_named_and_the_rest_is_shown(as_role: AsRole) -> None:
    page = as_role("viewer").page
    page.get_by_role("link", name="Back office").click()
    page.get_by_text("Prefect does not answer").first.wait_for()
    assert "GB (" in page.locator("#disk").inner_text()
    assert page.get_by_role("link", name="Restart").count() == 0


def test_an_address_of_the_back_office_that_is_none_keeps_its_menu(as_role: AsRole) -> None:
    visitor = as_role("viewer")
    visitor.open("/office/models/nothing/")
    visitor.page.get_by_role("heading", name="There is no such page").wait_for()
    visitor.faults.clear()  # the browser reports the status 404
    visitor.page.get_by_role("navigation", name="Back office").get_by_role("link", name="Charts").click()
    visitor.page.get_by_role("heading", name="Charts").wait_for()


def test_a_command_in_a_message_looks_like_one(as_role: AsRole) -> None:
    """No supervisor runs whose address the settings name."""
    visitor = as_role("viewer")
    visitor.open("/office/story/")
    assert visitor.page.locator("p.office-away code").inner_text() == "visionloop up"
    visitor.faults.clear()  # the browser reports the status 503
    assert "`" not in visitor.page.locator("main").inner_text()


def test_predictions_that_wait_and_versions_that_are_silent_are_named(as_role: AsRole, stack: Stack, live: str) -> None:
    """The keeper is hung, as far as this segment goes: somebody holds it. No supervisor knows the service."""
    known = endpoints.announced(MODEL)[MODEL, 1]
    endpoints.announce(MODEL, 1, f"http://127.0.0.1:{deploy.free_port()}", known.tag, anyway="a test")
    spool.folder().mkdir(exist_ok=True)
    segment = spool.folder() / "old.jsonl"
    with segment.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps({"time": time.time() - 600}) + "\n")
        file.flush()
        page = as_role("viewer").page
        page.get_by_role("link", name="Back office").click()
        page.get_by_text("Predictions have waited for 10 minutes").wait_for()
        page.get_by_text("Skin segmentation: version 1 does not answer").wait_for()
        segment.unlink()
    endpoints.announce(MODEL, 1, known.url, known.tag, anyway="a test")


def test_an_operator_restarts_a_process(as_role: AsRole, stack: Stack) -> None:
    visitor = as_role("operator")
    page, before = visitor.page, stack.services()["keeper"].pid
    visitor.open("/office/")
    page.get_by_role("link", name="Restart keeper").click()
    page.get_by_text("It finishes the requests").wait_for()
    page.get_by_label("Reason").fill("it took too much memory")
    page.get_by_role("button", name="Restart").click()
    page.get_by_text("keeper restarts.").wait_for()
    until(lambda: stack.services()["keeper"].pid not in (0, before))
    database.renew_connection()
    from serving.accounts.models import AuditLine

    line = AuditLine.objects.first()
    assert (line.what, line.target, line.why) == ("process.restart", "keeper", "it took too much memory")


def test_the_page_lives(as_role: AsRole, stack: Stack) -> None:
    visitor = as_role("viewer")
    visitor.open("/office/")
    row = visitor.page.get_by_role("row", name="keeper")
    row.get_by_text("ready").wait_for()
    seen = int(row.get_by_role("cell").last.inner_text())
    os.kill(stack.services()["keeper"].pid, signal.SIGKILL)
    row.get_by_role("cell", name=str(seen + 1), exact=True).wait_for()


def test_the_front_page_has_no_serious_fault(as_role: AsRole, stack: Stack) -> None:
    visitor = as_role("operator")
    for size, scheme in itertools.product((DESKTOP, PHONE), SCHEMES):
        visitor.page.emulate_media(color_scheme=scheme)
        visitor.page.set_viewport_size(size)
        visitor.open("/office/")
        visitor.page.get_by_role("heading", name="Services").wait_for()
        assert visitor.axe() == [], (size, scheme)
        assert visitor.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), size
