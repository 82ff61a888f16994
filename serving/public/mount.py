"""Puts the typed routes (Django) into the router (Starlette): one process, one port, one doorkeeper."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from registry import database
from registry.errors import NotFound, TooLarge
from registry.settings import settings
from serving.answers import refusal
from serving.public import document
from serving.uploads import MIB, check_declared_length, limited

if TYPE_CHECKING:
    from django.core.handlers.asgi import ASGIHandler


class Typed:
    """An ASGI app: bounds the body, then lets Django answer. Django is loaded beside the router's start."""

    def __init__(self) -> None:
        self._django: ASGIHandler | None = None
        self._loading = threading.Lock()
        threading.Thread(target=self._load, name="typed-routes", daemon=True).start()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        most = settings().max_upload_mb * MIB
        try:
            check_declared_length(Headers(scope=scope).get("content-length"), most)
            body = b"".join([chunk async for chunk in limited(Request(scope, receive).stream(), most)])
        except TooLarge as error:
            await refusal(error)(scope, receive, send)
            return
        except ClientDisconnect:
            return
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def received() -> Message:
            return messages.pop() if messages else await receive()

        # The server leaves the body of an answer to HEAD out.
        asked = {**scope, "method": "GET", "root_path": ""} if scope["method"] == "HEAD" else {**scope, "root_path": ""}
        app = await self._loaded()
        await app(asked, received, send)

    async def openapi(self, _: Request) -> Response:
        await self._loaded()
        return JSONResponse(await asyncio.to_thread(document.document))

    async def asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        await self._loaded()
        found = document.asset(name)
        if found is None:
            return refusal(NotFound(f"there is no {request.url.path[:200]}", mend="/docs is the page"))
        return Response(found, media_type=document.ASSETS[name], headers={"Cache-Control": "max-age=86400"})

    async def _loaded(self) -> ASGIHandler:
        return self._django if self._django is not None else await asyncio.to_thread(self._load)

    def _load(self) -> ASGIHandler:
        with self._loading:
            if self._django is None:
                database.setup()
                from django.core.handlers.asgi import ASGIHandler

                from serving.public import urls  # noqa: F401  (Django looks it up at the first request otherwise)

                self._django = ASGIHandler()
            return self._django


def routes() -> list[Route]:
    """The typed routes, for the router's table."""
    typed = Typed()
    return [
        Route("/v1/predictions/{prediction_id}", typed, methods=["GET"]),
        Route("/v1/predictions/{prediction_id}/feedback", typed, methods=["POST"]),
        Route("/v1/usage", typed, methods=["GET"]),
        Route("/openapi.json", typed.openapi),
        Route("/docs", _docs),
        Route("/docs/{name}", typed.asset),
    ]


async def _docs(_: Request) -> Response:
    return HTMLResponse(document.page())
