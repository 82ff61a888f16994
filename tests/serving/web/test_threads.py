"""Pages are made in threads that stay, and give way to predictions."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import psutil

from serving.launchers.web import NICE
from tests.serving.conftest import Processes

REQUESTS = 8


def test_the_threads_of_pages_keep_their_connection(home: Path) -> None:
    from django.db.backends.signals import connection_created

    from serving.web.pages import Pages, keep_connections

    made = []
    keep_connections()

    async def look() -> list[httpx.Response]:
        transport = httpx.ASGITransport(Pages(), client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return [await client.get("/", headers={"Accept-Language": one}) for one in ("fr", "en") * (REQUESTS // 2)]

    def note(**_: object) -> None:
        made.append(1)

    connection_created.connect(note)
    try:
        answers = asyncio.run(look())
    finally:
        connection_created.disconnect(note)
    assert [answer.status_code for answer in answers] == [200] * REQUESTS
    assert [answer.headers["content-language"] for answer in answers] == ["fr", "en"] * (REQUESTS // 2)
    assert 1 <= len(made) <= REQUESTS // 2, "a thread may not be free yet when the next request comes"


def test_pages_give_way_to_predictions(web: str, processes: Processes) -> None:
    assert psutil.Process(processes.running["web"].pid).nice() >= NICE > 0
