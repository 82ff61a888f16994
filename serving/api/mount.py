"""Puts the typed routes (Django) into the router (Starlette): one process, one port, one access middleware."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from registry.core import database
from registry.core.errors import NotFound, Overloaded, TooLarge, TooSlow
from registry.core.settings import settings
from serving.api import document
from serving.router.callers import name_of, read
from serving.wire.admission import MIB, UploadBudget
from serving.wire.deadline import CallerGone
from serving.wire.responses import error_response
from serving.wire.uploads import check_declared_length

if TYPE_CHECKING:
    from django.core.handlers.asgi import ASGIHandler
    from django.http import HttpRequest

MAX_LABEL_BYTES = 64 * MIB
"""The longest body, bytes: a label is held in the router's memory, which all models share."""
SMALL_LABEL_BYTES = MIB
MAX_LARGE_LABELS = 2
"""Bodies over SMALL_LABEL_BYTES that Django works on at once; it copies each of them."""
MAX_AT_ONCE = 64
"""Requests that Django works on at once, each in a thread of its own. Others wait."""


class TypedRoutes:
    """An ASGI app that reads the body within limits, then lets Django answer. Django loads while the router starts.

    Args:
        memory: for all bodies, those of the models' requests among them.
    """

    def __init__(self, memory: UploadBudget) -> None:
        self._memory = memory
        self._django = ThreadPoolExecutor(1, "typed-routes").submit(_load)
        self._large = asyncio.Semaphore(MAX_LARGE_LABELS)
        self._threads = asyncio.Semaphore(MAX_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        most = min(MAX_LABEL_BYTES, settings().max_upload_mb * MIB)
        try:
            check_declared_length(Headers(scope=scope).get("content-length"), most)
            with self._memory.reserve(name_of(scope)) as held:
                body = await read(Request(scope, receive), most, held)
                async with AsyncExitStack() as places:
                    if len(body) > SMALL_LABEL_BYTES:
                        await places.enter_async_context(self._large_place())
                    await places.enter_async_context(self._threads)
                    await self._answer(scope, body, receive, send)
        except TooLarge as error:
            fixed = TooLarge(error.found, expected=error.expected, fix="send the label alone, compressed")
            await error_response(fixed)(scope, receive, send)
        except (TooSlow, Overloaded) as error:
            await error_response(error)(scope, receive, send)
        except CallerGone:
            return

    @asynccontextmanager
    async def _large_place(self) -> AsyncIterator[None]:
        """A place for a large body. Raises Overloaded when none becomes free in time."""
        limit_s = settings().request_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                await self._large.acquire()
        except TimeoutError as error:
            raise Overloaded(
                f"{MAX_LARGE_LABELS} large labels were being stored for {limit_s:g} s",
                expected="fewer large labels at once",
                fix="try again after Retry-After seconds",
                retry_after_s=max(1, round(limit_s)),
            ) from error
        try:
            yield
        finally:
            self._large.release()

    async def _answer(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def received() -> Message:
            return messages.pop() if messages else await receive()

        # The server drops the body of an answer to HEAD. A chunked form has no length, and Django needs one.
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        framing = (b"content-length", b"transfer-encoding")
        headers = [one for one in scope["headers"] if one[0] not in framing]
        headers.append((b"content-length", b"%d" % len(body)))
        app = await self._loaded()
        await app({**scope, "headers": headers, "method": method, "root_path": ""}, received, send)

    async def openapi(self, _: Request) -> Response:
        await self._loaded()
        return JSONResponse(await asyncio.to_thread(document.document))

    async def asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        await self._loaded()
        found = document.asset(name)
        if found is None:
            return error_response(NotFound(f"there is no {request.url.path[:200]}", fix="open /docs"))
        return Response(found, media_type=document.ASSETS[name], headers={"Cache-Control": "max-age=86400"})

    async def _loaded(self) -> ASGIHandler:
        return await asyncio.shield(asyncio.wrap_future(self._django))


def _load() -> ASGIHandler:
    database.setup()
    from django.core.handlers.asgi import ASGIHandler

    from serving.api import routes  # Django would load them at the first request

    class Handler(ASGIHandler):
        """Answers by the typed routes also in a process whose Django was set up for other pages, as in a test."""

        def resolve_request(self, request: HttpRequest) -> Any:
            request.urlconf = routes.__name__
            return super().resolve_request(request)

    return Handler()


def routes(memory: UploadBudget) -> list[Route]:
    """The typed routes, for the router. `memory`: as for `TypedRoutes`."""
    typed = TypedRoutes(memory)
    return [
        Route("/v1/predictions", typed, methods=["GET"]),
        Route("/v1/predictions/{prediction_id}", typed, methods=["GET", "DELETE"]),
        Route("/v1/predictions/{prediction_id}/feedback", typed, methods=["POST"]),
        Route("/v1/tasks", typed, methods=["GET"]),
        Route("/v1/usage", typed, methods=["GET"]),
        Route("/v1/whoami", typed, methods=["GET"]),
        Route("/v1/keys/self/rotate", typed, methods=["POST"]),
        Route("/v1/keys/self/webhook-secret", typed, methods=["GET"]),
        Route("/openapi.json", typed.openapi),
        Route("/docs", _docs),
        Route("/docs/{name}", typed.asset),
    ]


async def _docs(_: Request) -> Response:
    return HTMLResponse(document.page())
