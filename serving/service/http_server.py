"""How a service is served when the supervisor starts it: quickly, and leaving in order."""

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

LEAVING_S = 1.0
"""From the first SIGTERM until no connection is taken any more, for whoever asks /readyz to send requests elsewhere.
Answers in it close their connection, so that no request is on its way on one when it is closed."""


def standalone(api: Starlette, worker: Worker) -> ASGIApp:
    """A service without BentoML's runtime around it, whose import would lengthen its start: `api`, and the three probes
    and the assets that BentoML adds. POSTs go straight to the endpoints, which answer every error themselves: routing
    takes a tenth of what an empty answer takes in all.
    """
    endpoints = {route.path: route.endpoint for route in api.routes if isinstance(route, Route) and _posts(route)}

    def alive(request: Request) -> Response:
        return PlainTextResponse("\n")

    def ready(request: Request) -> Response:
        return PlainTextResponse("\n", 200 if worker.ready and not worker.draining else 503)

    probes = [Route("/healthz", alive), Route("/livez", alive), Route("/readyz", ready)]
    others = responses.create_app([*probes, *_assets(), *api.routes], worker.served)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = endpoints.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if endpoint is None:
            await others(scope, receive, send)
            return
        response = await endpoint(Request(scope, receive, send))
        await response(scope, receive, send)

    return app


def _assets() -> list[Mount]:
    """What the page /docs is made of, out of BentoML's package."""
    found = find_spec("bentoml")
    folder = Path(found.origin).parent / "_internal" / "server" / "static_content" if found and found.origin else None
    return [Mount("/static_content", StaticFiles(directory=folder))] if folder and folder.is_dir() else []


def _posts(route: Route) -> bool:
    return "POST" in (route.methods or ())


class Server(uvicorn.Server):
    """Leaves in order: says "not ready" first, then takes no connection any more, then finishes what runs."""

    def __init__(self, config: uvicorn.Config, worker: Worker) -> None:
        super().__init__(config)
        self._worker = worker
        self._told: tuple[int, FrameType | None] | None = None
        self._leave_at = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called on SIGTERM and SIGINT; told twice, it leaves at once."""
        if self._told is None:
            self._worker.draining = True
            self._told, self._leave_at = (sig, frame), time.monotonic() + LEAVING_S
        else:
            super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        await asyncio.to_thread(self._worker.stop)  # what it logged is written out

    async def on_tick(self, counter: int) -> bool:
        if self._told is not None and not self.should_exit and time.monotonic() >= self._leave_at:
            super().handle_exit(*self._told)
        return await super().on_tick(counter)
