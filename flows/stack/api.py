"""The HTTP interface of the control socket. `flows.stack.control` is its client."""

from __future__ import annotations

import asyncio
from typing import Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from flows.process import ProcessSpec, ProcessStatus
from registry.core.errors import VisionloopError


class Controlled(Protocol):
    """What the control socket reaches; `flows.stack.supervisor.Supervisor` is it."""

    stopped: asyncio.Event

    def status(self, memory: bool = True) -> list[ProcessStatus]: ...

    async def start(self, spec: ProcessSpec) -> ProcessStatus: ...

    async def stop(self, name: str) -> None: ...

    async def restart(self, name: str) -> ProcessStatus: ...


def control_app(supervisor: Controlled) -> Starlette:
    async def status(request: Request) -> Response:
        memory = request.query_params.get("memory") != "no"
        return JSONResponse([one.to_json() for one in supervisor.status(memory)])

    async def start(request: Request) -> Response:
        spec = ProcessSpec(**await request.json())
        return JSONResponse((await supervisor.start(spec)).to_json())

    async def stop(request: Request) -> Response:
        await supervisor.stop(request.path_params["name"])
        return JSONResponse({})

    async def restart(request: Request) -> Response:
        return JSONResponse((await supervisor.restart(request.path_params["name"])).to_json())

    async def down(request: Request) -> Response:
        if request.method == "POST":
            supervisor.stopped.set()
        return JSONResponse({"stopping": supervisor.stopped.is_set()})

    async def failed(_: Request, error: Exception) -> Response:
        assert isinstance(error, VisionloopError)
        return JSONResponse(error.to_json(), status_code=error.http_status)

    return Starlette(
        routes=[
            Route("/status", status),
            Route("/start", start, methods=["POST"]),
            Route("/processes/{name}/stop", stop, methods=["POST"]),
            Route("/processes/{name}/restart", restart, methods=["POST"]),
            Route("/down", down, methods=["GET", "POST"]),
        ],
        exception_handlers={VisionloopError: failed},
    )
