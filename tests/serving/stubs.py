"""A service that a test tells what to do, answering over HTTP as the real ones do."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import uvicorn
from starlette.types import Receive, Scope, Send

from serving import deploy, releases


class Stub:
    """One version's service.

    Attributes:
        takes_s: before it answers.
        status: of its answers.
        dies: closes the connection in the middle of the answer.
        headers: of its answers.
        seen: the method and path of every request.
        left: how many callers went away before their answer.
    """

    def __init__(self) -> None:
        self.takes_s, self.status, self.dies = 0.0, 200, False
        self.headers: dict[str, str] = {}
        self.seen: list[str] = []
        self.left = 0
        self.url = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        self.seen.append(f"{scope['method']} {scope['path']}")
        leaves = asyncio.create_task(receive())
        await asyncio.wait((leaves,), timeout=self.takes_s)
        if leaves.done():
            self.left += 1
            return
        leaves.cancel()
        headers = [(name.lower().encode(), value.encode()) for name, value in self.headers.items()]
        length = (b"content-length", b"2")
        await send({"type": "http.response.start", "status": self.status, "headers": [length, *headers]})
        if self.dies:
            raise ConnectionError("as if it had been killed")
        await send({"type": "http.response.body", "body": b"{}"})


@contextmanager
def serving(stub: Stub) -> Iterator[Stub]:
    """The stub at an address of its own."""
    port = deploy.free_port()
    server = uvicorn.Server(uvicorn.Config(stub, port=port, lifespan="off", log_level="critical"))
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
    releases.announce(model, 1, stub.url, "stub:1", None)
    releases.switch(model, 1)
    until(lambda: routes(router).get(model, {}).get("url") == stub.url)
    try:
        yield
    finally:
        releases.withdraw(model)
        until(lambda: model not in routes(router))


def routes(router: str) -> dict[str, dict[str, object]]:
    return dict(httpx.get(f"{router}/-/routes", timeout=30).json()["routes"])


def until(what: Callable[[], object], within_s: float = 15.0) -> None:
    end = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < end, f"not within {within_s:g} s"
        time.sleep(0.02)
