"""Callers that would take a router's memory, connections or time: they are told so, and the next caller is answered."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from registry.core.settings import settings
from serving.api.mount import MAX_AT_ONCE, MAX_LABEL_BYTES
from serving.launchers import router
from serving.launchers.router import create_app
from serving.router import callers
from serving.router.forwarding import MEMORY_BYTES
from serving.wire import uploads
from tests.serving.access.conftest import start_router
from tests.serving.conftest import Processes
from tests.serving.raw import allow_files, answered, begun, connect, heard, listening
from tests.serving.stubs import Stub, released, routes, serving
from tests.waiting import until

MODEL, UNSERVED = "fruit_features", "suspect_classification"
CONNECTIONS = 4  # serving.api.routes, which needs a configured Django
PREDICT = f"/v1/models/{MODEL}/predict"
FEEDBACK = f"/v1/predictions/{'0' * 32}/feedback"
MIB = 1 << 20
SMALL_BODY = b"x" * 200_000


@pytest.fixture(scope="module")
def hurried(project: Path) -> Iterator[str]:
    """A router in this process whose callers have half a second, in front of a stub."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uploads, "PACE_S", 0.5)
        patch.setattr(callers, "settings", lambda: settings().model_copy(update={"request_timeout_s": 0.5}))
        with (
            listening(create_app(), lifespan="on") as address,
            serving(Stub()) as stub,
            released(address, MODEL, stub),
        ):
            yield address


LENGTHS = {
    "small": "Content-Length: 1000",
    "large": "Content-Length: 30000000",
    "chunked": "Transfer-Encoding: chunked",
}


@pytest.mark.parametrize("sent", [b"", b"3\r\nabc\r\n"], ids=["nothing", "a little"])
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("path", [PREDICT, f"/v1/models/{MODEL}/tasks", FEEDBACK])
def test_a_body_that_never_begins_or_goes_on_is_408(hurried: str, path: str, length: str, sent: bytes) -> None:
    began = time.monotonic()
    answer = heard(begun(hurried, f"POST {path} HTTP/1.1\nHost: x\n{LENGTHS[length]}\n", sent))
    assert time.monotonic() - began < 10
    assert (answer.status, answer.json["error"]) == (408, "TooSlow")
    assert answer.header("connection") == "close"
    assert not httpx.get(f"{hurried}/-/routes").json()["in_flight"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/healthz", 200),
        ("/v1/models", 200),
        (f"/v1/models/{MODEL}/schema", 200),
        (f"/v1/models/{UNSERVED}/predict", 503),
        ("/v1/models/nothing/predict", 404),
        ("/nothing", 404),
    ],
)
def test_where_no_body_is_needed_none_is_waited_for(hurried: str, path: str, status: int) -> None:
    method = "POST" if path.endswith("predict") else "GET"
    head = f"{method} {path} HTTP/1.1\nHost: x\nContent-Length: 5000000\n"
    answer = heard(begun(hurried, head, b"some of it"))
    assert answer.status == status
    assert answer.header("connection") == "close"


def test_a_router_that_has_no_file_left_blames_no_service(hurried: str, stub_of_another: Stub) -> None:
    path = f"{hurried}/v1/models/{UNSERVED}/predict"
    with httpx.Client(timeout=20) as client:
        assert client.get(f"{hurried}/v1/models").status_code == 200
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(0)  # the lowest number that a new file would get
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            answer = client.post(path, content=b"x")
            assert (answer.status_code, answer.json()["error"]) == (503, "MissingService")
            assert "no connection left" in answer.json()["found"]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert routes(hurried)[UNSERVED]["down"] is False
        assert client.post(path, content=b"x").status_code == 200


@pytest.fixture
def stub_of_another(hurried: str) -> Iterator[Stub]:
    with serving(Stub()) as one, released(hurried, UNSERVED, one):
        yield one


@pytest.fixture(scope="module")
def address(project: Path, processes: Processes) -> Iterator[str]:
    yield start_router(processes, "limits", max_upload_mb="128")
    processes.stop("limits")


@pytest.fixture
def stub(address: str) -> Iterator[Stub]:
    with serving(Stub()) as one, released(address, MODEL, one):
        yield one


def _memory(processes: Processes) -> int:
    """Bytes of the router that are in memory."""
    for line in Path(f"/proc/{processes.running['limits'].pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def _ask_normally(address: str) -> None:
    with httpx.Client(base_url=address, timeout=20) as client:
        for _ in range(3):
            assert client.post(PREDICT, content=SMALL_BODY).status_code == 200
            assert client.get("/v1/models").status_code == 200


def test_bodies_that_are_not_sent_to_their_end_take_no_more_memory_than_they_may(
    address: str, stub: Stub, processes: Processes
) -> None:
    _ask_normally(address)
    before, size = _memory(processes), 7 * MIB
    head = f"POST {PREDICT} HTTP/1.1\nHost: x\nContent-Length: {size}\n"
    with ExitStack() as open_ones:
        lines = [
            open_ones.enter_context(begun(address, head, bytes(size - 1), f"127.0.0.{2 + n % 20}")) for n in range(110)
        ]
        until(lambda: len(answered(lines)) >= 110 - MEMORY_BYTES // size)
        for line in answered(lines):
            answer = line.recv(1000)
            assert answer.startswith(b"HTTP/1.1 429"), answer
            assert b"retry-after: 2" in answer
        _ask_normally(address)
        assert _memory(processes) - before < 2 * MEMORY_BYTES, f"{(_memory(processes) - before) / MIB:.0f} MiB"
    _ask_normally(address)


@pytest.fixture
def narrow(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A router in this process with room for 4 MiB, in front of a stub."""
    monkeypatch.setattr(router, "MEMORY_BYTES", 4 * MIB)
    app = create_app()
    with listening(app, lifespan="on") as address, serving(Stub()) as stub, released(address, MODEL, stub):
        yield address


@pytest.mark.parametrize("callers", [1, 3])
@pytest.mark.parametrize("size", [100_000, 1_000_000], ids=["small", "large"])
@pytest.mark.parametrize("path", [PREDICT, FEEDBACK])
def test_slow_bodies_of_some_callers_leave_room_for_another(narrow: str, path: str, size: int, callers: int) -> None:
    head = f"POST {path} HTTP/1.1\nHost: x\nContent-Length: {size}\n"
    with ExitStack() as open_ones:
        for caller in range(callers):
            lines = [
                open_ones.enter_context(begun(narrow, head, bytes(size - 1), f"127.0.0.{2 + caller}"))
                for _ in range(8 * MIB // size)
            ]
            until(lambda lines=lines: answered(lines))  # it has got as much as it gets, and is told so
            answer = heard(answered(lines)[0])
            assert (answer.status, answer.json["error"]) == (429, "Overloaded")
            assert "one caller may hold" in answer.json["found"]
            assert answer.header("retry-after")
        with httpx.Client(base_url=narrow, timeout=20) as client:
            for _ in range(5):
                assert client.post(PREDICT, content=bytes(100_000)).status_code == 200
                assert client.post(FEEDBACK, content=bytes(100_000)).status_code == 415


def test_answers_that_are_not_read_take_no_more_memory_than_they_may(
    address: str, stub: Stub, processes: Processes
) -> None:
    _ask_normally(address)
    before, stub.body = _memory(processes), bytes(7 * MIB)
    with ExitStack() as open_ones:
        for _ in range(110):
            open_ones.enter_context(begun(address, f"GET /v1/models/{MODEL}/openapi.json HTTP/1.1\nHost: x\n"))
        until(lambda: len(stub.seen) >= 110)
        _ask_normally(address)
        assert _memory(processes) - before < 2 * MEMORY_BYTES, f"{(_memory(processes) - before) / MIB:.0f} MiB"


def test_unknown_predictions_take_no_more_connections_to_the_database_than_they_may(
    address: str, processes: Processes
) -> None:
    process = Path(f"/proc/{processes.running['limits'].pid}")

    def connections() -> int:
        return sum(path.readlink().name == "visionloop.db" for path in _files(process))

    with ExitStack() as open_ones:
        heads = [f"GET /v1/predictions/{n:032x} HTTP/1.1\nHost: x\nConnection: close\n" for n in range(400)]
        lines = [open_ones.enter_context(begun(address, head)) for head in heads]
        most, threads = 0, 0
        for _ in range(10):
            most = max(most, connections())
            threads = max(threads, len(list((process / "task").iterdir())))
            assert httpx.get(f"{address}/v1/usage", timeout=20).status_code == 200
        assert {heard(line).status for line in lines} == {404}
    assert most <= CONNECTIONS + 4, "and one each for routes, traffic, keys and usage"
    assert threads < MAX_AT_ONCE + 60


def _files(process: Path) -> Iterator[Path]:
    for path in (process / "fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            path.readlink()
            yield path


def test_a_label_of_unknown_length_is_cut_off_at_the_limit(address: str) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(126):
            sent += MIB
            yield b"\0" * MIB

    answer = httpx.post(f"{address}{FEEDBACK}", content=endless(), timeout=60)
    assert answer.status_code == 413
    assert sent < MAX_LABEL_BYTES + 32 * MIB


CROWDS = {
    "silent": "",
    "half a head": f"POST {PREDICT} HTTP/1.1\nHo",
    "no body": f"POST {PREDICT} HTTP/1.1\nHost: x\nContent-Length: 7000000\n\n",
    "a slow body": f"POST {PREDICT} HTTP/1.1\nHost: x\nContent-Length: 7000000\n\nabc",
    "a large body": f"POST {PREDICT} HTTP/1.1\nHost: x\nContent-Length: 90000000\n\nabc",
    "chunks": f"POST {PREDICT} HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n3\nabc\n",
    "a label": f"POST {FEEDBACK} HTTP/1.1\nHost: x\nContent-Length: 7000000\n\nabc",
    "documents with a body": "GET /v1/models HTTP/1.1\nHost: x\nContent-Length: 7000000\n\nabc",
    "kept": "GET /healthz HTTP/1.1\nHost: x\n\n",
}


@pytest.mark.parametrize("crowd", CROWDS)
def test_beside_1000_slow_or_idle_callers_others_are_answered(address: str, stub: Stub, crowd: str) -> None:
    allow_files(4096)
    sent = CROWDS[crowd].replace("\n", "\r\n").encode()
    with ExitStack() as open_ones:
        for _ in range(1000):
            line = open_ones.enter_context(connect(address))
            line.sendall(sent)
        _ask_normally(address)
