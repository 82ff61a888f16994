"""The router's table of routes, and requests that wait for a live version: they must not each ask the database."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.launchers.router import create_app
from serving.releases import deploy, endpoints, store
from serving.router import forwarding, routing
from serving.router.routing import RouteTable
from tests.databases import own_database

pytestmark = pytest.mark.anyio
MODEL = "fruit_features"
PREDICT = f"http://router/v1/models/{MODEL}/predict"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def nobody(project: Path, tmp_path: Path) -> Iterator[None]:
    """A model whose live version does not answer, and no other model."""
    with own_database(tmp_path / "visionloop.db"):
        endpoints.announce(MODEL, 1, f"http://127.0.0.1:{deploy.free_port()}", "nobody:1")
        store.switch(MODEL, 1)
        yield


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the routes were read from the database."""
    found: list[float] = []
    read = routing.Releases.read

    def noted(self: Any) -> Any:
        found.append(time.monotonic())
        return read(self)

    monkeypatch.setattr(routing.Releases, "read", noted)
    return found


def test_the_plans_are_read_once_and_again_only_where_somebody_wrote(nobody: None) -> None:
    """Four times a second, for every model: an idle router must not cost anything."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    reader = routing.Releases()

    def asked() -> int:
        with CaptureQueriesContext(connection) as queries:
            routes, planned = reader.read()
            assert routes.keys() == planned == {MODEL}
        return sum('FROM "serving_release"' in one["sql"] for one in queries)

    assert [asked(), asked(), asked()] == [1, 0, 0]
    with ThreadPoolExecutor(1) as another:  # with a connection of its own, as another process
        another.submit(store.switch, MODEL, 1, "somebody").result()
    revision = store.revision(MODEL)
    assert [asked(), asked()] == [1, 0]
    assert reader.read()[0][MODEL].plan.revision == revision
    connection.close()
    assert [asked(), asked()] == [1, 0], "a number of another connection says nothing"


async def test_many_who_want_a_fresh_table_read_it_once(nobody: None, reads: list[float]) -> None:
    table = RouteTable()
    await asyncio.gather(*(table.refresh(routing.EVERY_S) for _ in range(200)))
    assert len(reads) == 1
    assert MODEL in table.routes
    await table.refresh(routing.EVERY_S)
    assert len(reads) == 1
    await table.refresh()
    assert len(reads) == 2
    await asyncio.sleep(routing.EVERY_S)
    await table.refresh(routing.EVERY_S)
    assert len(reads) == 3


async def test_more_than_may_be_held_are_refused_at_once(
    nobody: None, reads: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "MAX_HELD", 20)
    monkeypatch.setattr(forwarding, "MAX_HOLD_S", 2.0)
    app = create_app()

    async def ask(client: httpx.AsyncClient) -> tuple[int, float]:
        began = time.monotonic()
        answer = await client.post(PREDICT, content=b"x", timeout=30)
        return answer.status_code, time.monotonic() - began

    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        before = len(reads)
        said = await asyncio.gather(*(ask(client) for _ in range(60)))
    assert {status for status, _ in said} == {503}
    assert sum(spent >= 2.0 for _, spent in said) == 20
    assert sum(spent < 1.5 for _, spent in said) == 40
    assert len(reads) - before <= 2.0 / routing.EVERY_S + 4, (
        "those who wait read no more than who looks after the table"
    )


async def test_who_is_held_waits_no_longer_where_the_database_does_not_answer(
    nobody: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "MAX_HOLD_S", 0.5)
    app, ended = create_app(), threading.Event()

    def hangs(self: Any) -> Any:
        ended.wait(30)
        return {}, frozenset()

    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        monkeypatch.setattr(routing.Releases, "read", hangs)
        try:
            async with asyncio.timeout(10):
                answer = await client.post(PREDICT, content=b"x", timeout=30)
        finally:
            ended.set()
    assert answer.status_code == 503
    assert "does not answer" in answer.json()["found"]
