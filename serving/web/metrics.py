"""The web application's metrics in Prometheus' text format: pages, uploads, runs that wait.

A page is named by its route (`gallery_model`, `/uploads/{id}`), never by its address.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from registry.core.errors import MissingService
from serving.access.metrics_readers import MetricsReaders
from serving.access.middleware import is_local
from serving.uploads.receiving import Uploads
from serving.web.pages import ROUTE
from serving.wire.database_threads import DatabaseThreads
from serving.wire.responses import error_response

if TYPE_CHECKING:
    from django.db.models import QuerySet

DATABASE_S = 3.0
"""Prometheus gives up after ten seconds."""
RUNS, LETTERS = "runs", "letters"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
UNKNOWN = "none"
"""In the place of a route where no page has the address."""


class WebMetrics(Collector):
    """The figures of this process, and the route `/metrics`."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        self._threads = DatabaseThreads(1, "metrics")
        self._readers = MetricsReaders()
        self._names: dict[object, str] = {}
        self._waiting: dict[str, dict[str, int]] = {}
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "visionloop_web_requests", "Requests by route and status", ("route", "status"), registry=registry
        )
        self._seconds = Histogram(
            "visionloop_web_request_seconds",
            "Request in until its answer began, seconds",
            ("route",),
            buckets=SECONDS,
            registry=registry,
        )
        registry.register(self)

    def know(self, routes: Iterable[BaseRoute]) -> None:
        """Names the routes beside those of Django's pages."""
        for route in routes:
            if isinstance(route, Mount) and route.path:
                self._names[route.app] = route.path.split("/")[1]  # static files: the rest is a hash
            elif isinstance(route, Route):
                self._names[route.endpoint] = route.path

    def ended(self, scope: Scope, status: int, seconds: float) -> None:
        route = self._names.get(scope.get("endpoint")) or scope.get(ROUTE) or UNKNOWN
        self._requests.labels(route, f"{status // 100}xx").inc()
        self._seconds.labels(route).observe(seconds)

    def collect(self) -> Sequence[Metric]:
        """What is at work now, and what `answer` has just read from the database."""
        waiting = []
        for name, counts in self._waiting.items():
            family = GaugeMetricFamily(f"visionloop_web_{name}", f"{name.capitalize()} by state", labels=("state",))
            for state, count in counts.items():
                family.add_metric((state,), count)
            waiting.append(family)
        return (
            *waiting,
            GaugeMetricFamily("visionloop_web_uploads", "Uploads that come in now", value=self._uploads.active),
            CounterMetricFamily(
                "visionloop_web_upload_bytes", "Bytes of uploads since the start", value=self._uploads.received_bytes
            ),
        )

    async def answer(self, request: Request) -> Response:
        try:
            if not is_local(request.scope):
                await self._threads.run(partial(self._readers.check, request.scope))
        except Exception as error:
            return error_response(error, process="web application")
        self._waiting = {}
        with suppress(MissingService, TimeoutError):  # the rest is told while the database is away
            self._waiting = await asyncio.wait_for(self._threads.run(_waiting), DATABASE_S)
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)


def _waiting() -> dict[str, dict[str, int]]:
    from django.db.models import Count

    from serving.accounts.models import Letter
    from serving.runs.models import ENDED, Run, State

    def by_state(query: QuerySet[Any], states: Iterable[str]) -> dict[str, int]:
        found = query.filter(state__in=states).order_by().values_list("state").annotate(Count("pk"))
        return {str(state): 0 for state in states} | dict(found)

    letters = (Letter.State.WAITING, Letter.State.FAILED)
    return {
        RUNS: by_state(Run.objects.all(), [one for one in State.values if one not in ENDED]),
        LETTERS: by_state(Letter.objects.all(), letters),
    }


class Counting:
    """The ASGI middleware that counts what was answered."""

    def __init__(self, app: ASGIApp, metrics: WebMetrics) -> None:
        self.app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status, seconds = time.perf_counter(), 500, 0.0

        async def sent(message: Message) -> None:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                status, seconds = message["status"], time.perf_counter() - began
            await send(message)

        try:
            await self.app(scope, receive, sent)
        finally:
            self._metrics.ended(scope, status, seconds or time.perf_counter() - began)
