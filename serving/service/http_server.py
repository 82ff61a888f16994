"""The HTTP server of a service that the supervisor starts. It starts quickly and drains before it ends."""

from __future__ import annotations

import asyncio
import socket
import time
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.service.worker import Worker
from serving.wire import responses

DRAIN_DELAY_S = 1.0
"""From the first SIGTERM until no new connection is accepted, so that load balancers see /readyz fail. Until then
answers close their connection, because a later end could meet a request on its way."""


def standalone(api: Starlette, worker: Worker) -> ASGIApp:
    """The routes of `api`, with the three probes and the assets of BentoML's runtime, which would double the time that
    a service takes to start.

    POSTs go straight to their endpoints, which answer every error themselves: Starlette's routing and its layers for
    errors take a tenth of the time of an empty answer.
    """
    endpoints = {route.path: route.endpoint for route in api.routes if isinstance(route, Route) and _posts(route)}

    def alive(request: Request) -> Response:
        return PlainTextResponse("\n")

    def ready(request: Request) -> Response:
        return PlainTextResponse("\n", 200 if worker.ready and not worker.draining else 503)

    probes = [Route("/healthz", alive), Route("/livez", alive), Route("/readyz", ready)]
    others = responses.create_app([*api.routes, *probes, *_assets()], worker.served)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = endpoints.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if endpoint is None:
            await others(scope, receive, send)
            return
        response = await endpoint(Request(scope, receive, send))
        await response(scope, receive, send)

    return app


def _posts(route: Route) -> bool:
    return "POST" in (route.methods or ())


def _assets() -> list[Mount]:
    """Swagger UI's files for the page /docs, from BentoML's package."""
    found = find_spec("bentoml")
    folder = Path(found.origin).parent / "_internal" / "server" / "static_content" if found and found.origin else None
    return [Mount("/static_content", StaticFiles(directory=folder))] if folder and folder.is_dir() else []


class Server(uvicorn.Server):
    """On SIGTERM says "not ready" first, then accepts no connection any more, then finishes the running requests."""

    def __init__(self, config: uvicorn.Config, worker: Worker) -> None:
        super().__init__(config)
        self._worker = worker
        self._signal: tuple[int, FrameType | None] | None = None
        self._drain_at = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called on SIGTERM and SIGINT. A second signal ends the server at once."""
        if self._signal is None:
            self._worker.draining = True
            self._signal, self._drain_at = (sig, frame), time.monotonic() + DRAIN_DELAY_S
        else:
            super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        await asyncio.to_thread(self._worker.stop)  # writes out the log

    async def on_tick(self, counter: int) -> bool:
        if self._signal is not None and not self.should_exit and time.monotonic() >= self._drain_at:
            super().handle_exit(*self._signal)
        return await super().on_tick(counter)
