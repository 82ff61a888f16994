"""A walk over all routes of the API, as everybody: what each answers is in `tests.serving.walk.api`."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.serving.access.conftest import start_router
from tests.serving.conftest import Processes
from tests.serving.walk import belongings, routes
from tests.serving.walk.api import API, SPOOFED
from tests.serving.walk.belongings import Walkers
from tests.serving.walk.pages import WHO
from tests.serving.walk.walking import faults, steps
from tests.waiting import until


@pytest.fixture(scope="module")
def address(detector: str, processes: Processes) -> Iterator[str]:
    """A router that asks for keys, with a live version behind it."""
    yield start_router(processes, "walked", require_keys="true", quota_per_minute="0")
    processes.stop("walked")


@pytest.fixture(scope="module")
def walkers(address: str) -> Walkers:
    return belongings.make()


@pytest.fixture(scope="module")
def everybody(address: str, walkers: Walkers) -> Iterator[dict[str, httpx.Client]]:
    clients = {}
    for who in (*WHO, "owner"):
        headers = {}
        if who in walkers.people:
            headers["X-API-Key"] = walkers.people[who].token
        clients[who] = client = httpx.Client(base_url=address, headers=headers, timeout=120)
        if headers:
            _wait_until_known(client)
    yield clients
    for client in clients.values():
        client.close()


def _wait_until_known(client: httpx.Client) -> None:
    """A router reads new keys every half second."""
    until(lambda: client.get("/v1/whoami").status_code == 200)


def test_every_route_is_in_the_table(project: Path) -> None:
    assert sorted(set(routes.of_api())) == sorted(API)


def test_everybody_gets_what_the_table_says_and_nothing_of_the_owners(
    everybody: dict[str, httpx.Client], walkers: Walkers
) -> None:
    def walk(who: str) -> list[str]:
        found = []
        for step in steps(API, walkers, who):
            found += faults(step, everybody[who].request(step.method, step.address), walkers)
        return found

    with ThreadPoolExecutor(len(everybody)) as pool:  # a prediction of somebody else is waited for, three seconds
        found = [fault for some in pool.map(walk, everybody) for fault in some]
    assert not found, "\n".join(found)


def test_no_header_opens_what_is_the_owners(everybody: dict[str, httpx.Client], walkers: Walkers) -> None:
    caller = f"vl_{walkers.values['key']}"
    headers = {name: caller if value == "owner" else value for name, value in SPOOFED.items()}
    found = []
    for step in steps(API, walkers, "other"):
        if step.method == "GET":
            found += faults(step, everybody["other"].get(step.address, headers=headers), walkers)
            found += faults(
                step, everybody["other"].get(step.address, headers={**headers, "X-Tasks-Of": caller}), walkers
            )
    assert not found, "\n".join(found)
