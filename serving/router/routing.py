"""The router's table of routes, read from the database four times a second. It also knows which requests are in flight
and which services are down."""

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

from registry.core import database
from registry.core.errors import MissingService, NotServed
from serving.releases import store
from serving.releases.endpoints import Endpoint
from serving.releases.store import Route
from serving.router.traffic import TrafficCounter

logger = logging.getLogger("visionloop.router")

EVERY_S = 0.25
WRITE_EVERY_S = 1.0

T = TypeVar("T")
Probe = Callable[[str], Awaitable[bool]]
"""Whether the service at a url is ready. Raises OSError when this process has nothing left to ask it with."""


class RouteTable:
    """Which services get the requests of a model, at this moment.

    While the database is away the last known routes stay. A thread reads them, but the table changes on the event loop
    only, so a request sees either the old route or the new one.
    """

    def __init__(self) -> None:
        self.traffic = TrafficCounter()
        self._routes: Mapping[str, Route] = {}
        self._planned: frozenset[str] | None = None  # models that have a release plan, once that was read
        self._in_flight: Counter[str] = Counter()
        self._down: set[str] = set()
        self._probing: dict[str, asyncio.Future[bool]] = {}
        self._probe: Probe = _unknown
        self._tasks: list[asyncio.Task[None]] = []
        self._refreshing: asyncio.Lock = asyncio.Lock()
        self._read_at = -math.inf
        self._releases = Releases()
        self._away = False
        # Each thread has a connection of its own, so that reading never waits for a write.
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="routes")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="traffic")

    async def start(self, probe: Probe) -> None:
        self._probe = probe
        await self.refresh()
        self._tasks = [asyncio.create_task(one) for one in (self._poll(), self._look_after(), self._write())]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._write_now()
        for pool in (self._reader, self._writer):
            pool.shutdown(wait=False)

    def route(self, model: str) -> Route:
        """The route of a model.

        Raises:
            NotServed: no version is released, so waiting does not help.
            MissingService: the released version's service is not up yet, or nothing could be read so far.
        """
        route = self._routes.get(model)
        if route is not None:
            return route
        if self._planned is None or model in self._planned:
            raise MissingService(
                f"no version of {model} is being served yet",
                expected="a service that is up",
                fix="try again in a few seconds",
            )
        raise NotServed(
            f"no version of {model} is being served",
            expected="a model that has a `version` in GET /v1/models",
            fix="use one of those",
        )

    @property
    def routes(self) -> Mapping[str, Route]:
        return self._routes

    @property
    def away(self) -> bool:
        """Whether the database did not answer when it was last read."""
        return self._away

    @property
    def in_flight(self) -> dict[str, int]:
        """How many requests each service works on, by its url; also services that are to stop."""
        return {url: count for url, count in self._in_flight.items() if count}

    @contextmanager
    def in_flight_on(self, endpoint: Endpoint) -> Iterator[None]:
        self._in_flight[endpoint.url] += 1
        try:
            yield
        finally:
            self._in_flight[endpoint.url] -= 1
            if not self._in_flight[endpoint.url]:
                del self._in_flight[endpoint.url]

    def down(self, endpoint: Endpoint) -> bool:
        """Whether the service was not ready when it was last asked."""
        return endpoint.url in self._down

    async def mark_if_down(self, endpoint: Endpoint) -> bool:
        """Asks a service that did not take a request whether it is ready. Returns whether it is down: then it gets no
        requests until it is ready again."""
        if endpoint.url not in self._down and not await self._is_well(endpoint.url):
            logger.warning("version %d of %s at %s is down", endpoint.version, endpoint.model, endpoint.url)
            self._down.add(endpoint.url)
        return endpoint.url in self._down

    async def _is_well(self, url: str) -> bool:
        """Asks a service once, however many requests want to know."""
        probe = self._probing.get(url)
        if probe is None:
            probe = self._probing[url] = asyncio.ensure_future(self._probe(url))
            probe.add_done_callback(lambda _: self._probing.pop(url, None))
        try:
            return await asyncio.shield(probe)
        except OSError:  # it could not be asked: see `Probe`
            return True

    async def wait_for_live(self, model: str, within_s: float) -> bool:
        """Waits until the live version of a model can be asked again. Returns False where it cannot in time."""
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            await asyncio.sleep(EVERY_S / 5)  # at least once, or callers would ask without a pause
            route = self._routes.get(model)
            if route is not None and not self.down(route.live):
                return True
        return False

    async def refresh(self, older_than_s: float = 0.0) -> None:
        """Reads the database, unless a read has ended within the last `older_than_s` seconds."""
        async with self._refreshing:
            if time.monotonic() - self._read_at < older_than_s:
                return
            try:
                found, planned = await asyncio.get_running_loop().run_in_executor(self._reader, self._releases.read)
            except Exception as error:
                if not self._away:
                    why = "the database is away" if database.is_away(error) else "the routes cannot be read"
                    logger.warning(
                        "%s, the last known routes stay: %s", why, error, exc_info=not database.is_away(error)
                    )
                self._away = True
                return
            finally:
                self._read_at = time.monotonic()
            if self._away:
                logger.warning("the database is back: the routes are up to date")
            self._away = False
            for model in sorted(found.keys() | self._routes.keys()):
                if found.get(model) != self._routes.get(model):
                    logger.info("route of %s: %s -> %s", model, self._routes.get(model), found.get(model))
            self._routes, self._planned = found, planned

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            await self.refresh()

    async def _look_after(self) -> None:
        """Asks services that are down whether they are ready, so that no request has to try."""
        while True:
            await asyncio.sleep(EVERY_S)
            wanted = {e.url for r in self._routes.values() for e in (r.live, r.second, r.previous) if e}
            self._down &= wanted
            for url in sorted(self._down):
                with suppress(OSError):
                    if await self._probe(url):
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


async def _unknown(url: str) -> bool:
    raise OSError(f"{url} is not asked before the table is started")


class Releases:
    """The release plans and routes of the database, read again only where it may have changed. For one thread."""

    def __init__(self) -> None:
        self._seen: tuple[object, int] | None = None
        self._found: tuple[Mapping[str, Route], frozenset[str]] = ({}, frozenset())

    def read(self) -> tuple[Mapping[str, Route], frozenset[str]]:
        """The routes, and all models that have a release plan."""
        return _in_database(self._read)

    def _read(self) -> tuple[Mapping[str, Route], frozenset[str]]:
        database.setup()
        seen = database.change_marker()  # first, so that a write meanwhile is read the next time
        if seen is None or seen != self._seen:
            plans = store.plans()
            self._found = store.routes(plans), frozenset(plan.model for plan in plans)
            self._seen = seen
        return self._found


def _in_database(work: Callable[..., T], *args: object) -> T:
    try:
        return work(*args)
    except Exception:
        database.close_connection()  # the next call opens a new one
        raise
