"""The router's table of routes: read from the database four times a second, with what is in flight on each service,
which services are down, and what became of their requests."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TypeVar

from serving import releases
from serving.releases import Endpoint, Route
from serving.traffic import Traffic

logger = logging.getLogger("visionloop.router")

EVERY_S = 0.25
WRITE_EVERY_S = 1.0

T = TypeVar("T")
Probe = Callable[[str], Awaitable[bool]]
"""Whether the service at a url is ready."""


class RouteTable:
    """Which services get the requests of a model, at this moment.

    While the database is away the last known routes stay. Reading runs in a thread; the table changes on the
    event loop only, so a request sees either the old route or the new one.
    """

    def __init__(self) -> None:
        self.traffic = Traffic()
        self._routes: Mapping[str, Route] = {}
        self._in_flight: Counter[str] = Counter()
        self._down: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._refreshing: asyncio.Lock = asyncio.Lock()
        self._read_at = -math.inf
        self._away = False
        # Django's connections belong to a thread: one thread, one connection. Reading never waits for a write.
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="routes")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="traffic")

    async def start(self, probe: Probe) -> None:
        await self.refresh()
        self._tasks = [asyncio.create_task(one) for one in (self._poll(), self._look_after(probe), self._write())]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self._write_now()
        for pool in (self._reader, self._writer):
            pool.shutdown(wait=False)

    def find(self, model: str) -> Route | None:
        return self._routes.get(model)

    @property
    def routes(self) -> Mapping[str, Route]:
        return self._routes

    @property
    def in_flight(self) -> dict[str, int]:
        """Requests on the way, by the service's url; a service that is being drained is still in it."""
        return {url: count for url, count in self._in_flight.items() if count}

    @contextmanager
    def counted(self, endpoint: Endpoint) -> Iterator[None]:
        self._in_flight[endpoint.url] += 1
        try:
            yield
        finally:
            self._in_flight[endpoint.url] -= 1
            if not self._in_flight[endpoint.url]:
                del self._in_flight[endpoint.url]

    def down(self, endpoint: Endpoint) -> bool:
        """Whether its process was gone when it was last asked."""
        return endpoint.url in self._down

    def lost(self, endpoint: Endpoint) -> None:
        """Its process is gone. It gets no request until it says ready again."""
        if endpoint.url not in self._down:
            logger.warning("version %d of %s at %s is down", endpoint.version, endpoint.model, endpoint.url)
        self._down.add(endpoint.url)

    async def back(self, model: str, within_s: float) -> bool:
        """Waits until the champion of a model can be asked again, where it was or elsewhere."""
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            route = self._routes.get(model)
            if route is not None and not self.down(route.champion):
                return True
            await asyncio.sleep(EVERY_S / 5)
        return False

    async def refresh(self, older_than_s: float = 0.0) -> None:
        """Reads the database, unless a read has ended within so many seconds: many may ask at once."""
        async with self._refreshing:
            if time.monotonic() - self._read_at < older_than_s:
                return
            try:
                found = await asyncio.get_running_loop().run_in_executor(self._reader, _read)
            except Exception as error:
                if not self._away:
                    logger.warning("the database is away, the last known routes stay: %s", error)
                self._away = True
                return
            finally:
                self._read_at = time.monotonic()
            if self._away:
                logger.warning("the database is back")
            self._away = False
            for model in sorted(found.keys() | self._routes.keys()):
                if found.get(model) != self._routes.get(model):
                    logger.info("route of %s: %s -> %s", model, self._routes.get(model), found.get(model))
            self._routes = found

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            await self.refresh()

    async def _look_after(self, probe: Probe) -> None:
        """Asks services that are down whether they are back, so that no caller's request has to find out."""
        while True:
            await asyncio.sleep(EVERY_S)
            wanted = {e.url for r in self._routes.values() for e in (r.champion, r.challenger, r.standby) if e}
            self._down &= wanted
            for url in sorted(self._down):
                if await probe(url):
                    logger.warning("the service at %s is back", url)
                    self._down.discard(url)

    async def _write(self) -> None:
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            await self._write_now()

    async def _write_now(self) -> None:
        taken = self.traffic.take()
        if not taken:
            return
        try:
            await asyncio.get_running_loop().run_in_executor(self._writer, _in_database, self.traffic.write, taken)
        except Exception as error:
            logger.debug("the traffic could not be written down yet: %s", error)
            self.traffic.put_back(taken)


def _read() -> Mapping[str, Route]:
    return _in_database(releases.routes)


def _in_database(work: Callable[..., T], *args: object) -> T:
    try:
        return work(*args)
    except Exception:
        from django.db import connection

        connection.close()  # the next one begins with a fresh one
        raise
