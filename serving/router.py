"""The one address for predictions: `/v1/models/{model}/...` goes to the live service of the model.

Which service that is, the release plan says (serving.plans); how a request gets there and what happens when the service
dies is in serving.forwarding. A request stays on the service it began on, so a switch drops nothing.
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
from starlette.responses import JSONResponse, Response

from registry import catalog
from registry.errors import MissingService, NotFound
from registry.settings import settings
from serving.access.middleware import AccessMiddleware
from serving.answers import refusal
from serving.callers import Nothing
from serving.forwarding import Forwarder
from serving.public import mount as public
from serving.releases import Endpoint, Route
from serving.routing import RouteTable
from serving.shadow import Shadow
from serving.stopwatch import CallerGone
from serving.uploads import MIB, check_declared_length

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
CONNECT_S = 5.0  # of a busy machine: the kernel connects at once, but this process must get its turn to see it
PROBE_S = 1.0
IDLE_S = 30  # less than the service's keep-alive (serving.launch), or a connection could close under a new request


def create_app() -> Starlette:
    """The router. Reads the releases from the database as long as it runs."""
    table = RouteTable()
    ready: list[Forwarder] = []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_S, sock_read=settings().request_timeout_s + 5)
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_S)
        # auto_decompress off: the answer goes on as it came.
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Content-Type"),
        ) as session:
            shadow = Shadow(session, table)
            await table.start(partial(_probe, session))
            shadow.start()
            ready.append(Forwarder(session, table, shadow))
            gc.freeze()  # what is loaded stays; looking for garbage in it again and again would hold requests up
            yield
            await shadow.stop()
            await table.stop()

    async def forward(request: Request) -> Response:
        # As the caller sent it: the door lets no encoded path in, which decoded could forge a second request.
        model, rest = request.path_params["model"], request.path_params["rest"]
        try:
            max_bytes = settings().max_upload_mb * MIB
            check_declared_length(request.headers.get("content-length"), max_bytes)
            _known(model)
            return await ready[0](request, model, rest, max_bytes)
        except CallerGone:
            return Nothing()
        except Exception as error:
            return refusal(error, {"X-Model": model} if isinstance(error, MissingService) else None)

    async def models(_: Request) -> Response:
        return JSONResponse({"models": [_describe(name, table.find(name)) for name in catalog.names()]})

    async def routes(_: Request) -> Response:
        live = {name: _route(table, route) for name, route in table.routes.items()}
        return JSONResponse({"routes": live, "in_flight": table.in_flight})

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    return Starlette(
        routes=[
            routing.Route("/v1/models", models),
            routing.Route("/v1/models/{model}/{rest:path}", forward, methods=METHODS),
            *public.routes(),
            routing.Route("/healthz", healthz),
            routing.Route("/-/routes", routes),
        ],
        middleware=[Middleware(AccessMiddleware)],
        exception_handlers={404: _no_page, 405: _no_page},
        lifespan=lifespan,
    )


def _known(model: str) -> None:
    if model not in catalog.names():
        catalog.get(model)  # raises NotFound with a suggestion


async def _probe(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/readyz", timeout=aiohttp.ClientTimeout(total=PROBE_S)) as answer:
            return answer.status == 200
    except (aiohttp.ClientError, OSError, TimeoutError):
        return False


def _route(table: RouteTable, route: Route) -> dict[str, Any]:
    """The champion's service, as callers of before there were plans know it, and the plan."""
    plan, second = route.plan, route.challenger
    return {
        **_service(table, route.champion),
        "plan": plan.kind,
        "revision": plan.revision,
        "share": plan.share,
        "challenger": _service(table, second) if second else None,
        "standby": _service(table, route.standby) if route.standby else None,
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
        "version": route.plan.champion if route else None,
        "media_in": spec.media_in,
        "media_out": spec.media_out,
        "predict": f"{base}/predict",
        "docs": f"{base}/docs",
    }


async def _no_page(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    found = NotFound(
        f"there is no {request.method} {request.url.path}",
        expected="/v1/models, or /v1/models/{model}/predict",
        mend="GET /v1/models lists the models",
    )
    return JSONResponse(found.to_json(), status_code=status, headers=getattr(error, "headers", None))


def main() -> None:
    """`python -m serving.router`: listens on `router_port` until it is told to stop; requests in flight may finish."""
    import uvicorn

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    uvicorn.run(
        create_app(),
        host=settings().host,
        port=settings().router_port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=int(settings().request_timeout_s),
    )


if __name__ == "__main__":
    main()
