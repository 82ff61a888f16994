"""The home page: the live story, and the pages that the loop writes. The supervisor serves it."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from flows.metrics.page import MetricsPage
from flows.process import ProcessStatus
from flows.story import indexes
from flows.story.story import Reader
from flows.story.versions import Versions
from flows.story.view import PICTURES, SERVED, Page
from registry.core.settings import Settings
from serving.access.middleware import is_local
from serving.access.rules import METRICS

NO_SNIFFING = {"X-Content-Type-Options": "nosniff"}
"""Browsers must take a file's type from its name, and not guess it from the content."""


class _Pages(StaticFiles):
    """A folder of pages. Refuses paths and links that lead out of it (Starlette's own check).

    The address of a folder without its last slash leads on to the one with it, also where the folder has no page of its
    own but an index (`flows.story.indexes`).
    """

    async def get_response(self, path: str, scope: Scope) -> Response:
        try:
            return await super().get_response(path, scope)
        except HTTPException as error:
            address = scope["path"]
            if error.status_code != 404 or address.endswith("/"):
                raise
            _, found = await run_in_threadpool(self.lookup_path, path)
            if found is None or not stat.S_ISDIR(found.st_mode):
                raise
            return RedirectResponse(quote(f"{address}/"))

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(NO_SNIFFING)
        return response


class _FromHere:
    """Refuses requests from other machines, for these pages ask nobody who they are. Says where to look instead."""

    def __init__(self, app: ASGIApp, instead: str) -> None:
        self.app, self.instead = app, instead

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = scope["type"] == "http" and scope["path"] not in ("/healthz", METRICS)
        if asked and not is_local(scope):
            text = f"These pages are for this machine only. Log in at {self.instead} and look there."
            await PlainTextResponse(text, status_code=403)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def home_app(settings: Settings, statuses: Callable[[], Sequence[ProcessStatus]]) -> Starlette:
    """`statuses` returns the states of the stack's processes. Answers callers on this machine only."""
    reader, page = Reader(settings.var / "journal.jsonl"), Page(settings, live=True)
    turn = asyncio.Lock()  # one reader, many browsers
    versions = Versions(settings)

    async def state() -> dict[str, Any]:
        async with turn:
            story = await run_in_threadpool(reader.read)
            pages = await run_in_threadpool(indexes.latest, settings)
            extra = {"models": await run_in_threadpool(versions.all), "pages": pages}
            return await run_in_threadpool(page.state, story, statuses(), extra)

    async def index(_: Request) -> Response:
        async with turn:
            story = await run_in_threadpool(reader.read)
            return HTMLResponse(await run_in_threadpool(page.document, story, statuses()))

    async def story_json(_: Request) -> Response:
        return JSONResponse(await state(), headers={"Cache-Control": "no-store"})

    async def story_html(_: Request) -> Response:
        """The story as one file, to keep."""
        still = Page(settings, live=False)
        async with turn:
            story = await run_in_threadpool(reader.read)
            extra = {"models": await run_in_threadpool(versions.all)}
            return HTMLResponse(await run_in_threadpool(still.document, story, statuses(), extra))

    async def picture(request: Request) -> Response:
        file = page.find(request.query_params.get("path", ""))
        if file is None or file.suffix.lower() not in PICTURES:
            return PlainTextResponse("there is no such picture", status_code=404)
        return FileResponse(file, headers={"Cache-Control": "max-age=86400", **NO_SNIFFING})

    routes: list[BaseRoute] = [
        Route("/", index),
        *(Route(path, _to_story) for path in ("/story", "/story/")),
        Route("/story.json", story_json),
        Route("/story.html", story_html),
        Route("/picture", picture),
        Route("/healthz", _healthz),
        MetricsPage(settings, statuses).route,
        *indexes.routes(settings),
    ]
    for name in SERVED:
        (settings.var / name).mkdir(parents=True, exist_ok=True)
        routes.append(Mount(f"/{name}", _Pages(directory=settings.var / name, html=True)))
    only_here = Middleware(_FromHere, instead=f"{settings.web_address}/office/documents/")
    return Starlette(routes=routes, middleware=[only_here], exception_handlers={404: indexes.not_found})


async def _to_story(_: Request) -> Response:
    return RedirectResponse("/")


async def _healthz(_: Request) -> Response:
    return PlainTextResponse("ok")
