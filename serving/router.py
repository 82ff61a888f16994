"""The one address for predictions: `/v1/models/{model}/...` goes to the live service of the model.

Bodies are streamed both ways. A request stays on the service it began on, so a switch drops nothing; when a service
dies under a request, the caller gets a 503 that says so and when to try again.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from yarl import URL

from registry import catalog
from registry.errors import MissingService, NotFound, VisionloopError
from registry.settings import settings
from serving.access.middleware import AccessMiddleware
from serving.answers import refusal
from serving.api import CALLER
from serving.public import mount as public
from serving.releases import Endpoint
from serving.routing import RouteTable
from serving.uploads import MIB, check_declared_length, limited

logger = logging.getLogger("visionloop.router")

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
# RFC 9110, section 7.6.1: these belong to one connection and are not passed on.
HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
BUFFERED = 8 * MIB
CONNECT_S = 2.0
IDLE_S = 30  # less than the service's keep-alive (serving.launch), or a connection could close under a new request


def create_app() -> Starlette:
    """The router. Reads the releases from the database as long as it runs."""
    table = RouteTable()
    client: list[aiohttp.ClientSession] = []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await table.start()
        timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_S, sock_read=settings().request_timeout_s + 5)
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_S)
        # auto_decompress off: the answer goes on as it came.
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Content-Type"),
        ) as session:
            client.append(session)
            yield
        await table.stop()

    async def forward(request: Request) -> Response:
        model, rest = request.path_params["model"], _rest(request)
        try:
            max_bytes = settings().max_upload_mb * MIB
            check_declared_length(request.headers.get("content-length"), max_bytes)
            _known(model)
            return await _forward(client[0], table, request, model, rest, max_bytes)
        except Exception as error:
            return refusal(error, {"X-Model": model} if isinstance(error, MissingService) else None)

    async def models(_: Request) -> Response:
        return JSONResponse({"models": [_describe(name, table.find(name)) for name in catalog.names()]})

    async def routes(_: Request) -> Response:
        live = {name: {"version": e.version, "url": e.url, "tag": e.tag} for name, e in table.routes.items()}
        return JSONResponse({"routes": live, "in_flight": table.in_flight})

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    return Starlette(
        routes=[
            Route("/v1/models", models),
            Route("/v1/models/{model}/{rest:path}", forward, methods=METHODS),
            *public.routes(),
            Route("/healthz", healthz),
            Route("/-/routes", routes),
        ],
        middleware=[Middleware(AccessMiddleware)],
        exception_handlers={404: _no_page, 405: _no_page},
        lifespan=lifespan,
    )


async def _forward(
    client: aiohttp.ClientSession, table: RouteTable, request: Request, model: str, rest: str, max_bytes: int
) -> Response:
    body = await _body(request, max_bytes)
    endpoint = _route(table, model)
    try:
        return await _send(client, table, endpoint, request, rest, body)
    except aiohttp.ClientConnectorError as error:
        # Nothing was sent, so nothing can happen twice: perhaps the service has moved since the table was read.
        await table.refresh()
        moved = _route(table, model)
        if moved == endpoint:
            raise _died(model, endpoint, "does not answer") from error
        try:
            return await _send(client, table, moved, request, rest, body)
        except aiohttp.ClientConnectorError as again:
            raise _died(model, moved, "does not answer") from again


async def _body(request: Request, max_bytes: int) -> bytes | AsyncIterator[bytes] | None:
    """Small bodies of known size as bytes, which is fastest; everything else as a stream that stops at the limit."""
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) <= BUFFERED:
        return await request.body() or None
    if not length and "transfer-encoding" not in request.headers:
        return None
    return limited(request.stream(), max_bytes)


async def _send(
    client: aiohttp.ClientSession,
    table: RouteTable,
    endpoint: Endpoint,
    request: Request,
    rest: str,
    body: bytes | AsyncIterator[bytes] | None,
) -> Response:
    """One attempt. Raises ClientConnectorError when nothing was sent, MissingService when the service died."""
    query = f"?{request.url.query}" if request.url.query else ""
    async with AsyncExitStack() as stack:
        stack.enter_context(table.counted(endpoint))
        try:
            answer = await client.request(
                request.method,
                URL(f"{endpoint.url}/{rest}{query}", encoded=True),
                headers=_request_headers(request),
                data=body,
                allow_redirects=False,
            )
            stack.push_async_callback(_close, answer)
            headers = _answer_headers(answer)
            length = answer.content_length
            if length is not None and length <= BUFFERED:
                return Response(await answer.read(), answer.status, headers)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            if refused := _refused_upload(error):
                raise refused from error
            why = (
                "did not answer in time" if isinstance(error, TimeoutError) else "died while it worked on this request"
            )
            raise _died(endpoint.model, endpoint, why) from error
        # The answer is still to come through: it stays counted as in flight until the last byte.
        return _Passed(answer.content.iter_any(), answer.status, headers, stack.pop_all())


class _Passed(StreamingResponse):
    """An answer that is streamed on; `held` is let go of at its end, also when the caller goes away."""

    def __init__(self, body: AsyncIterator[bytes], status: int, headers: dict[str, str], held: AsyncExitStack) -> None:
        super().__init__(body, status, headers)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._held:
            await super().__call__(scope, receive, send)


async def _close(answer: aiohttp.ClientResponse) -> None:
    answer.release()


def _refused_upload(error: BaseException) -> VisionloopError | None:
    """What our own body stream raised, if that is why the request could not be sent."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, VisionloopError):
            return seen
        if isinstance(seen, ClientDisconnect):
            return MissingService("the caller went away before the body was complete")
        seen = seen.__cause__ or seen.__context__
    return None


def _request_headers(request: Request) -> dict[str, str]:
    headers = {name: value for name, value in request.headers.items() if name not in HOP_BY_HOP and name != "host"}
    headers[CALLER] = request.scope["state"]["caller"]
    return headers


def _answer_headers(answer: aiohttp.ClientResponse) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}


def _rest(request: Request) -> str:
    """The path behind the model's name as the caller encoded it: decoded, it could forge a second request."""
    return str(request.scope["raw_path"].decode("ascii").split("/", 4)[4])


def _known(model: str) -> None:
    if model not in catalog.names():
        catalog.get(model)  # raises NotFound with a suggestion


def _route(table: RouteTable, model: str) -> Endpoint:
    endpoint = table.find(model)
    if endpoint is None:
        raise MissingService(
            f"no version of {model} is being served",
            expected="a released version",
            mend="train and release one (`visionloop demo` does both), or try again when it is up",
        )
    return endpoint


def _died(model: str, endpoint: Endpoint, what: str) -> MissingService:
    logger.warning("the service of %s version %d at %s %s", model, endpoint.version, endpoint.url, what)
    return MissingService(
        f"the service of {model} version {endpoint.version} {what}",
        expected="an answer",
        mend="send the request again: the supervisor restarts a service that died",
    )


def _describe(name: str, endpoint: Endpoint | None) -> dict[str, Any]:
    spec = catalog.get(name)
    base = f"/v1/models/{name}"
    return {
        "name": name,
        "title": spec.title,
        "task": spec.task,
        "version": endpoint.version if endpoint else None,
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
