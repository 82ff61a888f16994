"""Callers of the router that keep account of what they got; for measurements that take minutes
(`tests.benchmarks.endurance`)."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import aiohttp

from registry.core.settings import settings

SETTLE_S = 30.0
"""After an event: calls of this time are told apart in the latencies."""


@dataclass
class Seen:
    """What came of the calls. `times` are (seconds since the start, milliseconds, HTTP status or 0)."""

    began: float = field(default_factory=time.perf_counter)
    times: list[tuple[float, float, int]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)

    def latencies(self, outside: Sequence[float] = ()) -> list[float]:
        """Milliseconds of answered calls, but for the seconds after each of the moments `outside`."""
        quiet = [t for t in self.times if not any(e - 1 <= t[0] <= e + SETTLE_S for e in outside)]
        return sorted(ms for _, ms, status in quiet if status == 200)


class Caller:
    """Predictions of one model through the router, as raw bodies."""

    def __init__(self, model: str, body: bytes, seen: Seen) -> None:
        self._url = f"{settings().router_address}/v1/models/{model}/predict"
        self._headers = {"Content-Type": "application/octet-stream", **settings().key_headers}
        self._body, self._seen = body, seen
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def __call__(self) -> None:
        began, status, said = time.perf_counter(), 0, ""
        try:
            async with self._session.post(self._url, data=self._body, headers=self._headers) as answer:
                content = await answer.read()
                status = answer.status
                if status == 200:
                    self._seen.ids.append(answer.headers["X-Prediction-Id"])
                    self._seen.versions[answer.headers["X-Model-Version"]] += 1
                else:
                    said = f"{status} {content[:120].decode(errors='replace')}"
        except (aiohttp.ClientError, TimeoutError) as error:
            said = f"no answer: {type(error).__name__}"
        now = time.perf_counter()
        self._seen.times.append((began - self._seen.began, 1000 * (now - began), status))
        if status != 200:
            self._seen.refusals[said] += 1

    async def close(self) -> None:
        await self._session.close()


async def closed_loop(call: Callable[[], Awaitable[None]], clients: int, goes_on: Callable[[], bool]) -> None:
    """So many callers, each of which asks again when it has its answer."""

    async def client() -> None:
        while goes_on():
            await call()

    await asyncio.gather(*(client() for _ in range(clients)))


async def open_loop(call: Callable[[], Awaitable[None]], per_s: float, seconds: float) -> None:
    """Calls at a steady rate, whether the ones before have been answered or not."""
    began, running = time.perf_counter(), set[asyncio.Task[None]]()
    for number in itertools.count():
        due = began + number / per_s
        if due - began > seconds:
            break
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        task = asyncio.ensure_future(call())
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
