"""Uploads that are large, many, or never end: a service holds only so many bytes of them, and not for ever."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest
from starlette.requests import Request
from starlette.types import Message

from registry.contract import catalog
from registry.core.errors import Overloaded, TooSlow
from registry.core.settings import settings
from registry.vision.picture import to_jpeg
from serving.service.app import MAX_LARGE_UPLOADS
from serving.wire.admission import SMALL_UPLOAD, UploadBudget
from serving.wire.uploads import MIB, read_chunks
from tests.clips import scene
from tests.detector_bundle import make_detector_bundle
from tests.serving.local_api import answering
from tests.waiting import until

PICTURE = to_jpeg(scene(1, 160, 120))


@pytest.fixture(scope="module")
def address(project: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    spec = catalog.get("object_detection")
    bundle = make_detector_bundle(tmp_path_factory.mktemp("uploads") / "bundle", spec)
    with answering(spec, bundle.path) as (address, _):
        yield address


class Upload:
    """A request whose body is sent bit by bit. Without `length` it does not say how long it is."""

    def __init__(self, address: str, length: int | None, path: str = "/predict", kind: str = "image/jpeg") -> None:
        host, port = address.removeprefix("http://").split(":")
        self.line = socket.create_connection((host, int(port)), timeout=30)
        self.chunked = length is None
        size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        self.line.sendall(f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\n{size}\r\n\r\n".encode())

    def send(self, body: bytes) -> None:
        self.line.sendall(b"%x\r\n%s\r\n" % (len(body), body) if self.chunked else body)

    def is_answered(self, within_s: float) -> bool:
        return bool(select.select([self.line], [], [], within_s)[0])

    def answer(self) -> str:
        return self.line.recv(65536).decode("latin-1")

    def __enter__(self) -> Upload:
        return self

    def __exit__(self, *_: object) -> None:
        self.line.close()


@pytest.mark.parametrize("path", ["/predict", "/tasks"])
@pytest.mark.parametrize("declared", [True, False])
def test_large_uploads_wait_outside_and_a_picture_does_not(address: str, declared: bool, path: str) -> None:
    size = settings().max_upload_mb * MIB - 1000
    with ExitStack() as open_ones:
        for _ in range(MAX_LARGE_UPLOADS):
            one = open_ones.enter_context(Upload(address, size, path))
            one.send(bytes(size - 1))
        with Upload(address, size if declared else None, path) as refused:
            for _ in range(
                0 if declared else 2 * SMALL_UPLOAD // MIB
            ):  # the others' last bytes may still be on their way
                if not refused.is_answered(0.05):
                    refused.send(bytes(MIB))
            answer = refused.answer()
        assert answer.startswith("HTTP/1.1 429"), answer
        assert "retry-after: 2" in answer
        assert '"Overloaded"' in answer
        assert httpx.post(f"{address}/predict", content=PICTURE).status_code == 200
    # There is room again when they have gone.
    until(lambda: httpx.post(f"{address}/predict", content=bytes(size)).status_code == 422, pause_s=0.1)


def test_many_large_uploads_at_once_are_answered_or_told_when_to_come_back(address: str) -> None:
    body = bytes(settings().max_upload_mb * MIB // 2)
    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(httpx.post, f"{address}/predict", content=body, timeout=60) for _ in range(12)]
        statuses = {one.result().status_code for one in asked}
    assert statuses == {422, 429}


@pytest.mark.parametrize("kind", ["image/jpeg", "application/json", "multipart/form-data; boundary=x"])
@pytest.mark.parametrize("path", ["/predict", "/tasks"])
def test_a_body_that_does_not_go_on_is_given_up(
    address: str, monkeypatch: pytest.MonkeyPatch, kind: str, path: str
) -> None:
    monkeypatch.setattr("serving.wire.uploads.PACE_S", 0.3)
    with Upload(address, 1000, path, kind) as one:
        one.send(b"--x")
        answer = one.answer()
        assert answer.startswith("HTTP/1.1 408"), answer
        assert "connection: close" in answer
        assert '"TooSlow"' in answer
        assert one.line.recv(1) == b"", "the connection is closed"


def test_a_body_that_goes_on_slowly_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock of its own, since on a busy machine a pause may take longer than it should."""
    monkeypatch.setattr("serving.wire.uploads.PACE_S", 0.5)
    monkeypatch.setattr("serving.wire.uploads.MIN_PACE_BYTES", 100)

    async def read(bytes_each: int) -> bytes:
        clock, loop, sent = [0.0], asyncio.get_running_loop(), iter(range(4))
        loop.time = lambda: clock[0]  # type: ignore[method-assign]

        async def receive() -> Message:
            clock[0] += 0.3
            for _ in range(5):
                await asyncio.sleep(0)  # what is due by now happens
            return {"type": "http.request", "body": bytes(bytes_each), "more_body": next(sent) < 3}

        return b"".join([chunk async for chunk in read_chunks(Request({"type": "http"}, receive), 1000)])

    assert len(asyncio.run(read(150))) == 600
    with pytest.raises(TooSlow, match="of the body came in within"):
        asyncio.run(read(10))


def test_a_caller_has_half_of_what_the_others_leave() -> None:
    room = UploadBudget(12 * SMALL_UPLOAD, small=0)
    with room.reserve("a") as a, room.reserve("a") as again, room.reserve("b") as b, room.reserve("c") as c:
        a.take(4 * SMALL_UPLOAD)
        again.take(2 * SMALL_UPLOAD)
        with pytest.raises(Overloaded, match=r"your requests hold 48\.0 MiB, and one caller may hold 48\.0 MiB"):
            again.take(1)
        b.take(3 * SMALL_UPLOAD)
        assert not b.fits(1)
        c.take(SMALL_UPLOAD)
        assert not a.fits(1), "what it may have shrinks while others come"
        assert room.held_by("a") == 6 * SMALL_UPLOAD
    assert (room.taken, room.held_by("a"), room.held_by("b"), room.held_by("c")) == (0, 0, 0, 0)
    with room.reserve("a") as alone:
        alone.take(100 * SMALL_UPLOAD)


def test_one_alone_has_room_and_small_ones_have_a_quarter_more() -> None:
    room = UploadBudget(4 * SMALL_UPLOAD)
    with room.reserve() as giant:
        giant.take(100 * SMALL_UPLOAD)
        with pytest.raises(Overloaded), room.reserve() as small:
            small.take(1)
    with room.reserve() as one, room.reserve() as other, room.reserve() as small:
        one.take(2 * SMALL_UPLOAD)
        other.take(2 * SMALL_UPLOAD)
        small.take(SMALL_UPLOAD)
        with pytest.raises(Overloaded):
            small.take(1)
        with pytest.raises(Overloaded):
            other.check(1)
        assert room.taken == 5 * SMALL_UPLOAD
    assert room.taken == 0
