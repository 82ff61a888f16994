"""The one address for predictions: `/v1/models/{model}/...` goes to the live service of the model.

Which service that is, the release plan says (serving.releases.plans); how a request gets there and what happens when
the service dies is in serving.router.forwarding. A request stays on the service it began on, so a switch drops nothing.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
from starlette import routing
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from registry.contract import catalog
from registry.core.errors import MissingService, NotFound
from registry.core.settings import settings
from serving.access.middleware import AccessMiddleware
from serving.api import mount as public
from serving.releases.endpoints import Endpoint
from serving.releases.store import Route
from serving.router.callers import NoResponse, name_of
from serving.router.forwarding import MEMORY, Forwarder
from serving.router.relaying import is_ours
from serving.router.routing import RouteTable
from serving.router.shadow import Shadow
from serving.wire.admission import MIB, Reservation, UploadBudget
from serving.wire.connections import bounded_protocol, raise_file_limit
from serving.wire.deadline import CallerGone
from serving.wire.responses import error_response, route_error
from serving.wire.uploads import check_declared_length

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
CONNECT_S = 5.0  # of a busy machine: the kernel connects at once, but this process must get its turn to see it
PROBE_S = 1.0
IDLE_S = (
    30  # less than the service's keep-alive (serving.service.launch), or a connection could close under a new request
)


def create_app() -> Starlette:
    """The router. Reads the releases from the database as long as it runs."""
    table = RouteTable()
    ready: list[Forwarder] = []
    memory = UploadBudget(MEMORY, small=0)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_S, sock_read=settings().request_timeout_s + 5)
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_S)
        # auto_decompress off: the answer goes on as it came. What a caller did not say is not said for it, and what one
        # caller is given to keep (cookies) is not another one's.
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            cookie_jar=aiohttp.DummyCookieJar(),
        ) as session:
            shadow = Shadow(session, table)
            await table.start(partial(_probe, session))
            shadow.start()
            ready.append(Forwarder(session, table, shadow))
            gc.freeze()  # what is loaded stays; looking for garbage in it again and again would hold requests up
            yield
            await shadow.stop()
            await table.stop()

    async def forward(scope: Scope, receive: Receive, send: Send) -> None:
        with memory.reserve(name_of(scope)) as held:  # until the answer is sent
            response = await answer(Request(scope, receive, send), held)
            await response(scope, receive, send)

    async def answer(request: Request, held: Reservation) -> Response:
        # As the caller sent it: the door lets no encoded path in, which decoded could forge a second request.
        model, rest = request.path_params["model"], request.path_params["rest"]
        try:
            max_bytes = settings().max_upload_mb * MIB
            check_declared_length(request.headers.get("content-length"), max_bytes)
            _known(model)
            return await ready[0](request, model, rest, max_bytes, held)
        except CallerGone:
            return NoResponse()
        except Exception as error:
            return error_response(error, {"X-Model": model} if isinstance(error, MissingService) else None)

    async def models(_: Request) -> Response:
        return JSONResponse({"models": [_describe(name, table.find(name)) for name in catalog.names()]})

    async def routes(_: Request) -> Response:
        live = {name: _route(table, route) for name, route in table.routes.items()}
        return JSONResponse({"routes": live, "in_flight": table.in_flight})

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    app = Starlette(
        routes=[
            routing.Route("/", _start_page),
            routing.Route("/v1/models", models),
            routing.Route("/v1/models/{model}/{rest:path}", _App(forward), methods=METHODS),
            *public.routes(memory),
            routing.Route("/healthz", healthz),
            routing.Route("/-/routes", routes),
        ],
        middleware=[Middleware(AccessMiddleware)],
        exception_handlers={404: _no_page, 405: _no_page, Exception: _failed},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # a path has one spelling
    return app


class _App:
    """An ASGI app, which a route takes for one only if it is no function."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def _known(model: str) -> None:
    if model in catalog.names():
        return
    try:
        catalog.get(model)
    except NotFound as error:  # for whoever calls, who has no command line
        close = "" if "visionloop" in error.fix else error.fix
        raise NotFound(error.found, expected=error.expected, fix=close or "GET /v1/models lists them") from error


async def _probe(session: aiohttp.ClientSession, url: str) -> bool:
    """As `serving.router.routing.Probe`."""
    try:
        async with session.get(f"{url}/readyz", timeout=aiohttp.ClientTimeout(total=PROBE_S)) as answer:
            return answer.status == 200
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        if is_ours(error):
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


async def _no_page(request: Request, error: Exception) -> Response:
    headers = getattr(error, "headers", None) or {}
    hint = "GET /v1/models lists the models, /docs shows the rest"
    asked = f"{request.method} {request.url.path[:200]}"
    found = route_error(f"there is no {asked}", headers.get("Allow", ""), fix=hint)
    return JSONResponse(found.to_json(), status_code=found.http_status, headers=headers)


async def _start_page(_: Request) -> Response:
    return RedirectResponse("/docs")


async def _failed(_: Request, error: Exception) -> Response:
    return error_response(error)


def main() -> None:
    """`python -m serving.launchers.router`: listens on `router_port` until it is told to stop; requests in flight may
    finish."""
    import uvicorn

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("django.request").setLevel(logging.ERROR)  # an unknown id is no warning of the router's
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
