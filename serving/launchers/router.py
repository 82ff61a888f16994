"""The router's process: the one address for predictions, `/v1/models/{model}/...`.

The release plan (serving.releases.plans) chooses the service of each request; serving.router.forwarding sends it there.
A request stays on the service that it began on, so a switch drops nothing.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette import routing
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from registry.contract import catalog
from registry.core.errors import BadInput, MissingService
from registry.core.settings import settings
from serving.access.middleware import AccessMiddleware
from serving.access.rules import METRICS
from serving.api import mount as public
from serving.launchers.cors import cors
from serving.query.known_models import check_model
from serving.releases.endpoints import Endpoint
from serving.releases.store import Route
from serving.router.callers import NoResponse, name_of
from serving.router.forwarding import MEMORY_BYTES, Forwarder
from serving.router.metrics import RouterCollector, registry
from serving.router.relaying import is_own_error
from serving.router.routing import RouteTable
from serving.router.shadow import Shadow
from serving.tasks.waiting import TaskWaits
from serving.webhooks.asking import Webhooks, webhook_of
from serving.wire import request_ids
from serving.wire.admission import MIB, Reservation, UploadBudget
from serving.wire.connections import bounded_protocol, raise_file_limit
from serving.wire.deadline import CallerGone
from serving.wire.headers import MODEL_HEADER
from serving.wire.negotiation import check_query
from serving.wire.request_ids import REQUEST_ID_HEADER, RequestIds
from serving.wire.responses import error_response, no_route_handler
from serving.wire.uploads import check_declared_length

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
CONNECT_S = 5.0
"""The kernel connects at once, but on a busy machine this process notices it late."""
PROBE_S = 1.0
IDLE_S = 30
"""Less than a service keeps connections (serving.service.launch), or one could close under a new request."""


def create_app() -> Starlette:
    """The router. It reads the release plans from the database as long as it runs."""
    table, memory = RouteTable(), UploadBudget(MEMORY_BYTES, small=0)
    classes = [0] * 6  # of all answers
    collector = RouterCollector(table, memory, classes)
    predictions, figures = _Predictions(table, memory, collector), registry(collector)

    async def models(request: Request) -> Response:
        try:
            check_query(request.query_params.multi_items(), ())
        except BadInput as error:
            return error_response(error)
        return JSONResponse({"models": [_describe(name, table.routes.get(name)) for name in catalog.names()]})

    async def routes(_: Request) -> Response:
        live = {name: _route(table, route) for name, route in table.routes.items()}
        return JSONResponse({"routes": live, "in_flight": table.in_flight})

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(figures), media_type=CONTENT_TYPE_LATEST)

    async def failed(_: Request, error: Exception) -> Response:  # no middleware sees it
        classes[5] += 1
        return error_response(error, {REQUEST_ID_HEADER: request_ids.current()}, process="router")

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    no_route = no_route_handler("there is no", "GET /v1/models lists the models, /docs shows the rest")
    app = Starlette(
        routes=[
            routing.Route("/", _start_page),
            routing.Route("/v1/models", models),
            routing.Route("/v1/models/{model}/{rest:path}", predictions, methods=METHODS),
            *public.routes(memory),
            routing.Route("/healthz", healthz),
            routing.Route("/-/routes", routes),
            routing.Route(METRICS, metrics),
        ],
        middleware=[Middleware(RequestIds, classes=classes), *cors(), Middleware(AccessMiddleware)],
        exception_handlers={404: no_route, 405: no_route, Exception: failed},
        lifespan=predictions.lifespan,
    )
    app.router.redirect_slashes = False  # a path has one spelling
    return app


class _Predictions:
    """The ASGI app behind `/v1/models/{model}/...`.

    Args:
        memory: for the bodies and answers of all requests.
    """

    def __init__(self, table: RouteTable, memory: UploadBudget, collector: RouterCollector) -> None:
        self._table, self._memory, self._collector = table, memory, collector
        self._forwarder: Forwarder | None = None
        self._waits, self._webhooks = TaskWaits(), Webhooks()

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        async with _session() as session:
            shadow = Shadow(session, self._table)
            await self._table.start(partial(_probe, session))
            shadow.start()
            self._forwarder = Forwarder(session, self._table, shadow)
            self._collector.forwarder, self._collector.shadow = self._forwarder, shadow
            gc.freeze()  # loaded modules stay; searching them for garbage would delay requests
            yield
            await shadow.stop()
            await self._table.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._memory.reserve(name_of(scope)) as held:  # until the answer is sent
            response = await self._answer(Request(scope, receive, send), held)
            await response(scope, receive, send)

    async def _answer(self, request: Request, held: Reservation) -> Response:
        # The path as the caller sent it: the access middleware lets no encoded path through.
        model, rest = request.path_params["model"], request.path_params["rest"]
        assert self._forwarder is not None, "the app has started"
        try:
            max_bytes = settings().max_upload_mb * MIB
            check_declared_length(request.headers.get("content-length"), max_bytes)
            check_model(model)
            webhook = webhook_of(request, rest)
            response = await self._forwarder(request, model, rest, max_bytes, held)
            await self._webhooks.note(webhook, model, response)
            return await self._waits.answer(request, model, rest, response)
        except CallerGone:
            return NoResponse()
        except Exception as error:
            headers = {MODEL_HEADER: model} if isinstance(error, MissingService) else {}
            return error_response(error, headers, "router")


def _session() -> aiohttp.ClientSession:
    """For requests to services. It adds nothing: no headers, no cookies of other callers; answers stay compressed."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_S),
        timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_S, sock_read=settings().request_timeout_s + 5),
        auto_decompress=False,
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def _probe(session: aiohttp.ClientSession, url: str) -> bool:
    """As `serving.router.routing.Probe`."""
    try:
        async with session.get(f"{url}/readyz", timeout=aiohttp.ClientTimeout(total=PROBE_S)) as answer:
            return answer.status == 200
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        if is_own_error(error):
            raise
        return False


def _route(table: RouteTable, route: Route) -> dict[str, Any]:
    """The live version's service, the plan, and the services of the plan's other versions."""
    plan, second = route.plan, route.second
    return {
        **_service(table, route.live),
        "plan": plan.kind,
        "revision": plan.revision,
        "share": plan.share,
        "second": _service(table, second) if second else None,
        "previous": _service(table, route.previous) if route.previous else None,
    }


def _service(table: RouteTable, endpoint: Endpoint) -> dict[str, Any]:
    return {"version": endpoint.version, "url": endpoint.url, "tag": endpoint.tag, "down": table.down(endpoint)}


def _describe(name: str, route: Route | None) -> dict[str, Any]:
    spec = catalog.get(name)
    base = f"/v1/models/{name}"
    return {
        "name": name,
        "title": spec.title,
        "task": spec.task,
        "version": route.plan.live if route else None,
        "media_in": spec.media_in,
        "media_out": spec.media_out,
        "predict": f"{base}/predict",
        "docs": f"{base}/docs",
    }


async def _start_page(_: Request) -> Response:
    return RedirectResponse("/docs")


def main() -> None:
    """`python -m serving.launchers.router`: serves on `router_port` until SIGTERM; requests in flight may finish."""
    import uvicorn

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("django.request").setLevel(logging.ERROR)  # an unknown id needs no warning in the log
    uvicorn.run(
        create_app(),
        host=settings().host,
        port=settings().router_port,
        log_level="warning",
        access_log=False,
        http=bounded_protocol(raise_file_limit()),
        ws="none",
        server_header=False,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=int(settings().request_timeout_s),
    )


if __name__ == "__main__":
    main()
