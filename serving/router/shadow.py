"""Copies of requests for a shadow version.

A copy is sent when the caller's answer is on its way. It waits in a bounded queue and has a time limit of its own, so
it can neither delay nor fail a request.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from registry.contract import catalog
from registry.core.errors import BadInput
from serving.releases.endpoints import Endpoint
from serving.releases.store import Route
from serving.router.comparing import DIFFERS, JSON, Comparer, Question, comparable
from serving.router.routing import RouteTable
from serving.wire.admission import MIB
from serving.wire.headers import ROLE_HEADER

logger = logging.getLogger("visionloop.router")

MAX_WAITING = 64
MAX_WAITING_BYTES = 64 * MIB
MAX_AT_ONCE = 2
MAX_COPY_S = 20.0
MAX_ANSWER_BYTES = 16 * MIB
"""Bytes. A larger answer is not compared."""


@dataclass(frozen=True)
class Copy:
    """A request that the live version has answered.

    Attributes:
        endpoint: the service that gets it.
        answered: status, content type and body of that answer; None when it was streamed.
    """

    route: Route
    endpoint: Endpoint
    query: str
    headers: CIMultiDict[str]
    body: bytes
    answered: tuple[int, str, bytes] | None

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return len(self.body) + (len(self.answered[2]) if self.answered else 0)


class Shadow:
    """Sends copies and compares the answers."""

    def __init__(self, client: aiohttp.ClientSession, table: RouteTable) -> None:
        self._client, self._table = client, table
        self._queue: asyncio.Queue[Copy] = asyncio.Queue(MAX_WAITING)
        self._bytes = 0
        self._compare = Comparer()
        self._warned: set[str] = set()  # models whose answers the log has called not comparable
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._work()) for _ in range(MAX_AT_ONCE)]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._compare.stop()

    @property
    def waiting(self) -> tuple[int, int]:
        """Copies that wait, and the bytes of all that are in memory."""
        return self._queue.qsize(), self._bytes

    async def offer(self, copy: Copy) -> None:
        """Queues a copy, or counts it as dropped. Never waits."""
        full = self._queue.full() or self._bytes + copy.size > MAX_WAITING_BYTES
        if full or self._table.down(copy.endpoint):
            self._table.traffic.of(copy.route.plan, copy.endpoint.version, "shadow").dropped += 1
            return
        self._bytes += copy.size
        self._queue.put_nowait(copy)

    async def _work(self) -> None:
        while True:
            copy = await self._queue.get()
            try:
                await asyncio.wait_for(self._send(copy), MAX_COPY_S)
            except Exception as error:  # whatever it is, no caller waits for a copy
                logger.debug("a shadow call of %s: %s", copy.route.plan.model, error)
            finally:
                self._bytes -= copy.size

    async def _send(self, copy: Copy) -> None:
        plan, spec = copy.route.plan, catalog.get(copy.route.plan.model)
        kind = comparable(spec)
        began, status = time.perf_counter(), 500
        try:
            status, media, body = await self._ask(copy.endpoint, copy.query, copy.headers, copy.body)
        except aiohttp.ClientConnectorError:
            await self._table.mark_if_down(copy.endpoint)
            raise
        finally:
            # Looked up now: earlier counts may have been written to the database meanwhile.
            counts = self._table.traffic.of(plan, copy.endpoint.version, "shadow")
            counts.answered(status, None)
        if status != 200 or copy.answered is None or copy.answered[0] != 200:
            return
        counts.latencies.add(1000 * (time.perf_counter() - began))
        answers = [copy.answered[1:], (media, body)]
        for n, endpoint in enumerate((copy.route.live, copy.endpoint)):
            if not answers[n][0].startswith(kind):  # the caller asked for a picture, say: ask again
                answers[n] = (await self._ask(endpoint, "", _with(copy.headers, accept=kind), copy.body))[1:]
        sample = b"" if kind == JSON else copy.body
        question = Question(plan.model, copy.headers.get("content-type", ""), sample, *answers)
        try:
            found = await self._compare(question)
        except BadInput as error:
            if plan.model not in self._warned:
                logger.warning("two answers of %s cannot be compared: %s", plan.model, error.found)
            self._warned.add(plan.model)
            return
        if found is not None:
            counts = self._table.traffic.of(plan, copy.endpoint.version, "shadow")
            counts.compared += 1
            counts.agreement += found
            counts.disagreed += found < DIFFERS[spec.task]

    async def _ask(
        self, endpoint: Endpoint, query: str, headers: CIMultiDict[str], body: bytes
    ) -> tuple[int, str, bytes]:
        """Status, content type and body of the answer. Raises what aiohttp raises; ValueError for a large answer."""
        url = URL(f"{endpoint.url}/predict{f'?{query}' if query else ''}", encoded=True)
        async with self._client.post(url, headers=_with(headers, **{ROLE_HEADER: "shadow"}), data=body) as answer:
            content = bytearray()
            async for piece in answer.content.iter_any():
                content += piece
                if len(content) > MAX_ANSWER_BYTES:
                    raise ValueError(f"an answer of more than {MAX_ANSWER_BYTES / MIB:g} MiB")
            return answer.status, answer.headers.get("content-type", ""), bytes(content)


def _with(headers: CIMultiDict[str], **changed: str) -> CIMultiDict[str]:
    found = headers.copy()
    for name, value in changed.items():
        found[name] = value
    return found
