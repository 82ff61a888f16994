"""A service that a test tells what to do, answering over HTTP as the real ones do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from serving.releases import deploy, endpoints, store
from serving.wire.connections import bounded_protocol
from tests.serving.removal import withdraw
from tests.waiting import until


class Stub:
    """One version's service.

    Attributes:
        takes_s: before it answers.
        status: of its answers.
        early: answers before it has read the body.
        dies: closes the connection in the middle of the answer.
        headers, headers_sent: of its answers; the latter may repeat.
        body: of its answers.
        well: what it says at /readyz.
        seen: the method and path of every other request.
        headers_seen: the headers of the last one, names in lower case.
        left: how many callers went away before their answer.
    """

    def __init__(self) -> None:
        self.takes_s, self.status, self.dies, self.well = 0.0, 200, False, True
        self.early = False
        self.headers: dict[str, str] = {}
        self.headers_sent: list[tuple[str, str]] = []
        self.headers_seen: list[tuple[str, str]] = []
        self.body = b"{}"
        self.seen: list[str] = []
        self.left = 0
        self.url = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while not self.early and (await receive()).get("more_body"):
            pass
        if scope["path"] == "/readyz":
            await PlainTextResponse("\n", 200 if self.well else 503)(scope, receive, send)
            return
        self.headers_seen = [(name.decode(), value.decode("latin-1")) for name, value in scope["headers"]]
        self.seen.append(f"{scope['method']} {scope['path']}")
        if not self.early:
            leaves = asyncio.create_task(receive())
            await asyncio.wait((leaves,), timeout=self.takes_s)
            if leaves.done():
                self.left += 1
                return
            leaves.cancel()
        told = [*self.headers.items(), *self.headers_sent]
        headers = [(name.lower().encode(), value.encode()) for name, value in told]
        length = (b"content-length", b"%d" % len(self.body))
        await send({"type": "http.response.start", "status": self.status, "headers": [length, *headers]})
        if self.dies:
            await send({"type": "http.response.body", "body": self.body[: len(self.body) // 2], "more_body": True})
            raise ConnectionError("as if it had been killed")
        await send({"type": "http.response.body", "body": self.body})


@contextmanager
def serving(stub: Stub, http: type[asyncio.Protocol] | None = None) -> Iterator[Stub]:
    """The stub at an address of its own. `http`: how it treats connections; default: as our services."""
    port = deploy.free_port()
    config = uvicorn.Config(stub, port=port, lifespan="off", log_level="critical", http=http or bounded_protocol())
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    stub.url = f"http://127.0.0.1:{port}"
    try:
        yield stub
    finally:
        server.should_exit = True
        thread.join(10)


@contextmanager
def released(router: str, model: str, stub: Stub) -> Iterator[None]:
    """The stub answers for version 1 of a model behind the router."""
    endpoints.announce(model, 1, stub.url, "stub:1")
    store.switch(model, 1)
    until(lambda: routes(router).get(model, {}).get("url") == stub.url)
    try:
        yield
    finally:
        withdraw(model)
        until(lambda: model not in routes(router))


def routes(router: str) -> dict[str, dict[str, object]]:
    return dict(httpx.get(f"{router}/-/routes", timeout=30).json()["routes"])
