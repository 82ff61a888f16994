"""`?version=`: the caller chooses among the versions that run; the plan's comparison does not count it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serving.query.versions import take_version
from serving.releases import endpoints, store
from tests.serving.access.conftest import start_router
from tests.serving.conftest import Processes
from tests.serving.removal import withdraw
from tests.serving.stubs import Stub, routes, serving
from tests.waiting import until

MODEL = "fruit_features"
PREDICT = f"/v1/models/{MODEL}/predict"


@pytest.fixture(scope="module")
def address(project: Path, processes: Processes) -> Iterator[str]:
    yield start_router(processes, "pinned")
    processes.stop("pinned")


@pytest.fixture
def stubs(address: str) -> Iterator[dict[int, Stub]]:
    """Version 2 is live, version 1 is kept warm."""
    with serving(Stub()) as one, serving(Stub()) as two:
        for number, stub in ((1, one), (2, two)):
            stub.body = b'{"version": %d}' % number
            endpoints.announce(MODEL, number, stub.url, f"stub:{number}")
            store.switch(MODEL, number)
        until(lambda: (routes(address).get(MODEL, {}).get("previous") or {}).get("url") == one.url)
        yield {1: one, 2: two}
        withdraw(MODEL)
        until(lambda: MODEL not in routes(address))


def _ask(address: str, query: str) -> httpx.Response:
    return httpx.post(f"{address}{PREDICT}{query}", content=b"x", headers={"Content-Type": "image/jpeg"}, timeout=30)


def test_the_pinned_version_answers_and_gets_no_version_in_its_query(address: str, stubs: dict[int, Stub]) -> None:
    assert _ask(address, "").json() == {"version": 2}
    pinned = _ask(address, "?format=json&version=1")
    assert (pinned.json(), pinned.headers["x-release-role"]) == ({"version": 1}, "pinned")
    live = _ask(address, "?version=2")
    assert (live.json(), live.headers["x-release-role"]) == ({"version": 2}, "live")
    schema = httpx.get(f"{address}/v1/models/{MODEL}/schema?version=1")
    assert schema.json() == {"version": 1}


def test_a_version_that_does_not_run_is_409_and_says_which_do(address: str, stubs: dict[int, Stub]) -> None:
    answer = _ask(address, "?version=3")
    assert answer.status_code == 409
    assert answer.json()["found"] == f"version 3 of {MODEL} is not served"
    assert answer.json()["expected"] == "one of 1, 2"


@pytest.mark.parametrize("query", ["?version=one", "?version=0", "?version=", "?version=1&version=2"])
def test_what_is_no_version_is_422(address: str, stubs: dict[int, Stub], query: str) -> None:
    answer = _ask(address, query)
    assert (answer.status_code, answer.json()["error"]) == (422, "BadInput")
    assert "version" in answer.json()["found"]


def test_no_other_version_stands_in_for_a_pinned_one(address: str, stubs: dict[int, Stub]) -> None:
    stubs[1].status = 503
    assert _ask(address, "?version=1").status_code == 503
    assert stubs[1].seen == ["POST /predict"]
    assert _ask(address, "").json() == {"version": 2}


@pytest.mark.parametrize(
    ("query", "taken"),
    [
        ("", (None, "")),
        ("format=json", (None, "format=json")),
        ("a=%26&version=7&b=c+d", (7, "a=%26&b=c+d")),
        ("vers%69on=7", (7, "")),
        ("xversion=7", (None, "xversion=7")),
    ],
)
def test_the_rest_of_a_query_stays_as_it_was_written(query: str, taken: tuple[int | None, str]) -> None:
    assert take_version(query) == taken
