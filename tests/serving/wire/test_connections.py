"""Connections of callers that are slow, silent, many, or do not speak HTTP; the sockets are raw, the server is real."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from registry.core.errors import TooSlow
from serving.wire import connections
from tests.serving.raw import Heard, answered, begun, connect, heard, listening
from tests.waiting import until

MIB = 1 << 20
LARGE = 32 * MIB


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """`/early` answers before the body comes; `/waits` after it; `/large` with more than a buffer holds."""
    body = b"x" * LARGE if scope["path"] == "/large" else b"{}"
    while scope["path"] == "/waits" and (await receive()).get("more_body"):
        pass
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 413 if scope["path"] == "/early" else 200, "headers": headers})
    for start in range(0, len(body), MIB):
        more = start + MIB < len(body)
        await send({"type": "http.response.body", "body": body[start : start + MIB], "more_body": more})


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with listening(app) as address:
        yield address


NOT_HTTP = {
    "a negative length": "POST / HTTP/1.1\nHost: x\nContent-Length: -5\n",
    "a length of letters": "POST / HTTP/1.1\nHost: x\nContent-Length: abc\n",
    "a length of 27 digits": f"POST / HTTP/1.1\nHost: x\nContent-Length: {'9' * 27}\n",
    "two lengths": "POST / HTTP/1.1\nHost: x\nContent-Length: 5\nContent-Length: 6\n",
    "a length and chunks": "POST / HTTP/1.1\nHost: x\nContent-Length: 5\nTransfer-Encoding: chunked\n",
    "an unknown method": "BREW / HTTP/1.1\nHost: x\n",
    "no HTTP at all": "\x16\x03\x01 hello\n",
}


@pytest.mark.parametrize("what", NOT_HTTP)
def test_what_is_not_http_gets_a_json_400(address: str, what: str) -> None:
    answer = heard(begun(address, NOT_HTTP[what]))
    _is_problem(answer, 400, "BadRequest")


def test_a_chunk_that_is_none_gets_a_json_400(address: str) -> None:
    head = "POST /waits HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n"
    _is_problem(heard(begun(address, head, b"3\r\nabc\r\nzz\r\n")), 400, "BadRequest")


def _is_problem(answer: Heard, status: int, error: str) -> None:
    assert (answer.status, answer.json["error"]) == (status, error)
    assert answer.header("content-type") == "application/json"
    assert answer.header("connection") == "close"
    assert answer.json["found"]
    assert answer.json["expected"]
    assert answer.json["fix"]


def test_a_head_that_never_ends_is_431(address: str) -> None:
    line = begun(address, "GET / HTTP/1.1\nHost: x\nX: " + "x" * (connections.MAX_HEAD_BYTES + 1))
    _is_problem(heard(line), 431, "HeadTooLarge")


def test_a_head_that_does_not_go_on_is_408_and_a_silent_caller_is_closed(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_S", 0.3)
    monkeypatch.setattr(connections, "LINGER_S", 0.3)
    line = connect(address)
    line.sendall(b"GET / HTTP/1.1\r\nHo")
    _is_problem(heard(line), TooSlow.http_status, "TooSlow")
    with connect(address, 5) as silent:
        assert silent.recv(1) == b""
    with connect(address, 5) as drip:  # line ends before a request are no request
        until(lambda: not _takes(drip, b"\r\n"), within_s=5)


def _takes(line: socket.socket, body: bytes = bytes(1000)) -> bool:
    try:
        line.sendall(body)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("how", ["declared", "chunked", "expecting"])
def test_an_answer_that_does_not_wait_for_the_body_reaches_the_caller(address: str, how: str) -> None:
    kind = {"chunked": "Transfer-Encoding: chunked\n", "expecting": f"Content-Length: {LARGE}\nExpect: 100-continue\n"}
    head = "POST /early HTTP/1.1\nHost: x\n" + kind.get(how, f"Content-Length: {LARGE}\n")
    line = begun(address, head)
    for _ in range(connections.LINGER_BYTES // MIB - 1):  # reads nothing before all is sent, as simple clients do
        line.sendall(b"%x\r\n%s\r\n" % (MIB, bytes(MIB)) if how == "chunked" else bytes(MIB))
    answer = heard(line)
    assert (answer.status, answer.body) == (413, b"{}")
    assert answer.header("connection") == "close"


def test_who_sends_on_after_the_answer_is_not_read_for_ever(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "LINGER_S", 0.3)
    with begun(address, f"POST /early HTTP/1.1\nHost: x\nContent-Length: {1 << 40}\n") as line:
        until(lambda: not _takes(line), within_s=10)


def test_a_caller_that_does_not_read_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STALL_S", 0.3)
    alive: set[object] = set()

    class Watched(connections.BoundedProtocol):
        def connection_made(self, transport: object) -> None:
            alive.add(self)
            super().connection_made(transport)  # type: ignore[arg-type]

        def connection_lost(self, exc: Exception | None) -> None:
            alive.discard(self)
            super().connection_lost(exc)

    with listening(app, http=Watched) as address, begun(address, "GET /large HTTP/1.1\nHost: x\n") as line:
        assert line.recv(10)
        assert alive
        until(lambda: not alive)


def test_a_caller_that_reads_slowly_gets_all_of_it(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STALL_S", 0.2)
    with begun(address, "GET /large HTTP/1.1\nHost: x\nConnection: close\n") as line:
        size = 0
        while piece := line.recv(2 * MIB):
            size += len(piece)
            time.sleep(0.02)
    assert size > LARGE


def test_a_new_connection_takes_the_place_of_the_one_that_was_idle_longest() -> None:
    with listening(app, most=20) as address, ExitStack() as open_ones:
        idle = [open_ones.enter_context(connect(address, 5)) for _ in range(60)]
        assert httpx.get(f"{address}/").status_code == 200
        assert idle[0].recv(1) == b"", "the oldest made room"
        idle[-1].sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle[-1].recv(100).startswith(b"HTTP/1.1 200")


def test_an_address_with_many_connections_displaces_its_own() -> None:
    with listening(app, most=20) as address, ExitStack() as open_ones:
        few = [open_ones.enter_context(connect(address, 5, "127.0.0.2")) for _ in range(5)]
        many = [open_ones.enter_context(connect(address, 5, "127.0.0.3")) for _ in range(60)]
        assert httpx.get(f"{address}/").status_code == 200
        assert many[0].recv(1) == b""
        for line in few:
            line.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert line.recv(100).startswith(b"HTTP/1.1 200")


def test_an_address_that_keeps_every_connection_busy_gives_one_up_to_another() -> None:
    with listening(app, most=20) as address, ExitStack() as open_ones:
        head = "POST /waits HTTP/1.1\nHost: x\nContent-Length: 10\nExpect: 100-continue\n"
        busy = [open_ones.enter_context(begun(address, head, source="127.0.0.2")) for _ in range(20)]
        for line in busy:
            assert line.recv(100).startswith(b"HTTP/1.1 100"), "it is at work"
        assert heard(begun(address, "GET / HTTP/1.1\nHost: x\n", source="127.0.0.2")).status == 503
        assert httpx.get(f"{address}/").status_code == 200
        closed = answered(busy)
        assert len(closed) == 1
        for line in set(busy).difference(closed):
            line.sendall(b"x" * 10)
            assert line.recv(100).startswith(b"HTTP/1.1 200")


def test_where_all_are_at_work_a_new_one_is_told_when_to_come_back() -> None:
    with listening(app, most=20) as address, ExitStack() as open_ones:
        head = "POST /waits HTTP/1.1\nHost: x\nContent-Length: 10\n"
        busy = [open_ones.enter_context(begun(address, head, b"x")) for _ in range(20)]
        until(lambda: httpx.get(f"{address}/").status_code == 503)
        answer = httpx.get(f"{address}/")
        assert (answer.json()["error"], answer.headers["retry-after"]) == ("MissingService", "1")
        assert answer.headers["connection"] == "close"
        for one in busy:
            one.sendall(b"x" * 9)
            assert one.recv(100).startswith(b"HTTP/1.1 200"), "who was there first is answered"
        assert httpx.get(f"{address}/").status_code == 200
