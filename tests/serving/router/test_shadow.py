"""The queue of copies for a version that is only watched: bounded by what it holds."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from multidict import CIMultiDict

from serving.releases.endpoints import Endpoint
from serving.releases.plans import Plan
from serving.releases.store import Route
from serving.router.routing import RouteTable
from serving.router.shadow import MAX_WAITING_BYTES, Copy, Shadow
from tests.bundles import MODEL

pytestmark = pytest.mark.anyio
MIB = 1 << 20
PLAN = Plan(MODEL, "shadow", 1, 2)
ROUTE = Route(PLAN, *(Endpoint(MODEL, version, f"http://127.0.0.1:{version}", "") for version in (1, 2)))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize(("body", "answer"), [(8 * MIB, 0), (1, 8 * MIB), (4 * MIB, 4 * MIB)])
async def test_the_copies_that_wait_hold_no_more_than_they_may(project: Path, body: int, answer: int) -> None:
    table = RouteTable()
    async with aiohttp.ClientSession() as session:
        shadow = Shadow(session, table)  # not started: nothing leaves the queue
        for _ in range(20):
            answered = (200, "application/x-nifti", b"\0" * answer) if answer else None
            await shadow.offer(Copy(ROUTE, ROUTE.of(2) or ROUTE.live, "", CIMultiDict(), b"\0" * body, answered))
    assert table.traffic.of(PLAN, 2, "shadow").dropped == 20 - MAX_WAITING_BYTES // (body + answer)
