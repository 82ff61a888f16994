"""The route `/metrics` on the story page's port."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from flows.metrics import operational
from flows.metrics.machine import Machine
from flows.metrics.processes import Processes
from flows.process import ProcessStatus
from registry.core.errors import MissingService, VisionloopError
from registry.core.settings import Settings
from serving.access.metrics_readers import MetricsReaders
from serving.access.middleware import is_local
from serving.access.rules import METRICS

DATABASE_S = 4.0
"""How long an answer waits for the database, before it is told without its figures."""


class MetricsPage(Collector):
    """Answers callers on this machine, and keys for the action admin and all models.

    The database is asked in a thread of its own, so that one that hangs never holds up the supervisor.
    """

    def __init__(self, settings: Settings, statuses: Callable[[], Sequence[ProcessStatus]]) -> None:
        self._database, self._readers = operational.Figures(settings), MetricsReaders()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="metrics")
        self._figures: list[Metric] = []
        self._asked: asyncio.Future[list[Metric]] | None = None
        self._registry = CollectorRegistry()
        for one in (Processes(statuses), Machine(settings), self):
            self._registry.register(one)
        ProcessCollector(registry=self._registry)

    @property
    def route(self) -> Route:
        return Route(METRICS, self._answer)

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        return self._figures

    async def _answer(self, request: Request) -> Response:
        try:
            if not is_local(request.scope):
                await self._check(request)
        except VisionloopError as error:
            return JSONResponse(error.to_json(), status_code=error.http_status)
        await self._ask()
        content = await asyncio.to_thread(generate_latest, self._registry)
        return Response(content, media_type=CONTENT_TYPE_LATEST)

    async def _check(self, request: Request) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, partial(self._readers.check, request.scope))
        except VisionloopError:
            raise
        except Exception as error:
            raise MissingService("the keys cannot be read", expected="a database", fix="try again") from error

    async def _ask(self) -> None:
        """Brings the database's figures up to date. One question at a time, however many ask for the page."""
        if self._asked is None or self._asked.done():
            self._asked = asyncio.get_running_loop().run_in_executor(self._thread, self._database.read)
        try:
            self._figures = await asyncio.wait_for(asyncio.shield(self._asked), DATABASE_S)
        except TimeoutError:
            self._figures = self._database.away()
