"""The router's table of routes: read from the database twice a second, with what is in flight on each service."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from serving import releases
from serving.releases import Endpoint

logger = logging.getLogger("visionloop.router")

EVERY_S = 0.25


class RouteTable:
    """Which service gets the requests of a model, at this moment.

    While the database is away the last known routes stay. Reading runs in a thread; the table changes on the
    event loop only, so a request sees either the old route or the new one.
    """

    def __init__(self) -> None:
        self._routes: Mapping[str, Endpoint] = {}
        self._in_flight: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None
        self._refreshing: asyncio.Lock = asyncio.Lock()
        self._away = False
        # Django's connections belong to a thread: one thread, one connection.
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="routes")

    async def start(self) -> None:
        await self.refresh()
        self._task = asyncio.create_task(self._poll())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._reader.shutdown(wait=False)

    def find(self, model: str) -> Endpoint | None:
        return self._routes.get(model)

    @property
    def routes(self) -> Mapping[str, Endpoint]:
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

    async def refresh(self) -> None:
        """Reads the database now."""
        async with self._refreshing:
            try:
                found = await asyncio.get_running_loop().run_in_executor(self._reader, _read)
            except Exception as error:
                if not self._away:
                    logger.warning("the database is away, the last known routes stay: %s", error)
                self._away = True
                return
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


def _read() -> dict[str, Endpoint]:
    try:
        return releases.live_endpoints()
    except Exception:
        from django.db import connection

        connection.close()  # the next reading begins with a fresh one
        raise
