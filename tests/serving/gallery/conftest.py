"""People who look at results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browsers import Visitor
from tests.serving.gallery import planted, results
from tests.serving.people import Person
from tests.serving.runs.conftest import anna, bert

__all__ = ["anna", "bert"]
EMAIL = "anna@example.org"
Open = Callable[..., Visitor]


@pytest.fixture
def looker(browser: Any, web: str, persons: list[Person]) -> Iterator[Visitor]:
    """Anna in her browser. In the end nothing may have gone wrong in it."""
    visitor = Visitor(browser, web)
    visitor.page.context.add_cookies([persons[0].cookie(web)])
    yield visitor
    visitor.close()
    assert visitor.faults == []


@pytest.fixture(scope="package")
def usual(persons: list[Person]) -> dict[str, str]:
    """The id of a run of each kind of `tests.serving.gallery.results`."""
    made = {kind: getattr(results, kind)(owner=EMAIL, prediction_id="0" * 32) for kind in results.KINDS}
    return dict(zip(made, planted.plant(*made.values()), strict=True))


@pytest.fixture
def shown(looker: Visitor, usual: dict[str, str]) -> Open:
    """Opens the page of a result, of a kind or with an id, and waits until its viewer has started."""

    def opened(kind: str, query: str = "") -> Visitor:
        looker.open(f"/runs/{usual.get(kind, kind)}/{query}")
        looker.page.locator("[data-view][data-ready]").wait_for(timeout=60_000)
        return looker

    return opened
