"""HTTP as no library would send it: bytes on a socket."""

from __future__ import annotations

import json
import resource
import select
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from serving.wire.connections import BoundedProtocol, bounded_protocol
from tests.waiting import until


@dataclass(frozen=True)
class Heard:
    """An answer, to the end of its connection."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        return next((value for known, value in self.headers if known == name), "")

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


def connect(address: str, timeout: float = 20, source: str = "") -> socket.socket:
    """`source`: the address that it comes from, any of 127.0.0.0/8."""
    host, port = address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=timeout, source_address=(source, 0) if source else None)


def begun(address: str, head: str, body: bytes = b"", source: str = "") -> socket.socket:
    """A connection on which a request is begun; `head` has lines that end with a line end."""
    line = connect(address, source=source)
    line.sendall(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n" + body)
    return line


def answered(lines: Iterable[socket.socket]) -> list[socket.socket]:
    """Those on which something has come."""
    poll = select.poll()
    known = {line.fileno(): line for line in lines}
    for number in known:
        poll.register(number, select.POLLIN)
    return [known[number] for number, _ in poll.poll(0)]


def heard(line: socket.socket) -> Heard:
    """What comes until the connection is closed."""
    with line:
        said = b"".join(iter(lambda: line.recv(1 << 20), b""))
    head, _, body = said.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    pairs = [one.partition(": ") for one in rest]
    return Heard(int(first.split()[1]), [(name.lower(), value) for name, _, value in pairs], body)


@contextmanager
def listening(
    app: ASGIApp, most: int = 1000, http: type[BoundedProtocol] | None = None, lifespan: str = "off"
) -> Iterator[str]:
    """The app in a thread of this process, behind our connections; its address."""
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            app,
            http=http or bounded_protocol(most),
            lifespan=lifespan,  # type: ignore[arg-type]
            log_level="critical",
            timeout_keep_alive=2,
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [port]}, daemon=True)
        thread.start()
        until(lambda: server.started or not thread.is_alive())
        assert thread.is_alive()
        try:
            yield f"http://127.0.0.1:{port.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)


def allow_files(count: int) -> None:
    """Lets this process have so many open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))
