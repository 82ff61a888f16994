"""A version is promoted and rolled back with the buttons of the back office: real services, a real router."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from registry.core import database
from serving.releases import store
from serving.releases.plans import Plan
from tests.browsers import Visitor
from tests.bundles import MODEL
from tests.serving.conftest import Packaged, Processes
from tests.serving.controlled import begin

AsRole = Callable[[str], Visitor]
ADDRESS = f"/office/models/{MODEL}/"


@pytest.fixture
def canary(live: str, packaged: dict[int, Packaged], processes: Processes) -> str:
    """Version 1 live, version 2 a canary that stays at 10 %."""
    plan = Plan(MODEL, "canary", live=1, second=2, share=10)
    begin(plan, packaged[2].version, packaged[2].tag, processes, live)
    return live


def _last_line() -> Any:
    database.renew_connection()
    from serving.accounts.models import AuditLine

    return AuditLine.objects.first()


def _ask(page: Any, link: str, button: str, why: str) -> None:
    page.get_by_role("link", name=link).click()
    page.get_by_label("Reason").fill(why)
    page.get_by_role("button", name=button, exact=True).click()


def test_an_operator_promotes_and_rolls_back(canary: str, as_role: AsRole) -> None:
    visitor = as_role("operator")
    page = visitor.page
    visitor.open("/office/")
    page.get_by_text("version 2 gets 10 % (canary), version 1 the rest").wait_for()
    page.locator("#releases").get_by_role("link", name="Skin segmentation", exact=True).click()
    page.get_by_role("link", name="Promote version 2").click()
    page.get_by_text("Version 2 gets every request at once").wait_for()
    page.get_by_role("button", name="Promote").click()  # without a reason the browser asks for one
    assert page.get_by_role("heading", name="Promote version 2").is_visible()
    page.get_by_label("Reason").fill("better on scans")
    page.get_by_role("button", name="Promote").click()
    page.get_by_text("Done.").wait_for()
    assert store.plan(MODEL).live == 2  # type: ignore[union-attr]
    line = _last_line()
    assert (line.what, line.target, line.why) == ("release.promote", f"{MODEL}@2", "better on scans")
    _ask(page, "Roll back to version 1", "Roll back", "worse at night")
    page.get_by_text("Done.").wait_for()
    page.get_by_text("version 1 gets every request").first.wait_for()
    assert store.plan(MODEL).live == 1  # type: ignore[union-attr]
    event = next(iter(store.events(MODEL, 1)))
    assert (event.what, event.why, event.who) == ("rollback", "worse at night", _last_line().who)


def test_a_plan_that_changed_meanwhile_is_not_changed_again(canary: str, as_role: AsRole) -> None:
    visitor = as_role("operator")
    visitor.open(f"{ADDRESS}promote/")
    store.change(MODEL, "step", "somebody", "", share=20)
    visitor.page.get_by_label("Reason").fill("better on scans")
    visitor.page.get_by_role("button", name="Promote").click()
    visitor.page.get_by_text("The release plan has changed").wait_for()
    assert store.plan(MODEL).live == 1  # type: ignore[union-attr]
    visitor.faults.clear()  # the console names the 422


def test_a_model_without_a_version_has_nothing_to_roll_back(web: str, as_role: AsRole) -> None:
    visitor = as_role("operator")
    visitor.open("/office/models/fruit_features/rollback/")
    visitor.page.get_by_text("There is nothing to promote or to go back to.").wait_for()


def test_a_release_without_prefect_says_so_and_changes_nothing(live: str, packaged: Any, as_role: AsRole) -> None:
    visitor = as_role("operator")
    visitor.open(f"{ADDRESS}canary/?version=1")
    page = visitor.page
    page.get_by_label("Share").fill("25")
    # It was released without the gate's grant once. That says nothing of this release.
    page.get_by_label("Do it although the gate did not grant this version").check()
    page.get_by_label("Reason").fill("to see")
    page.get_by_role("button", name="Begin the canary").click()
    page.get_by_text("Prefect does not answer").wait_for()
    assert store.plan(MODEL).second is None  # type: ignore[union-attr]
    visitor.faults.clear()  # the console names the 422


def test_a_viewer_looks_and_cannot_change(canary: str, as_role: AsRole) -> None:
    visitor = as_role("viewer")
    visitor.open(ADDRESS)
    visitor.page.get_by_role("heading", name="Versions").wait_for()
    assert visitor.page.get_by_role("link", name="Promote").count() == 0
    assert visitor.open(f"{ADDRESS}promote/").status == 403
    visitor.faults.clear()  # the console names the 403
