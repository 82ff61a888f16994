"""HTTP connections with bounds, for the router and for services.

uvicorn does not bound the number of connections, the time and size of a request's head, callers that do not read their
answers, and what a caller sends after its answer. A request costs one timer and one closure more.
"""

from __future__ import annotations

import asyncio
import resource
import uuid
from collections import Counter
from typing import Any, ClassVar

from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from registry.core.errors import BadRequest, HeadTooLarge, MissingService, TooSlow, VisionloopError
from serving.wire.request_ids import REQUEST_ID_HEADER
from serving.wire.responses import error_response

MAX_CONNECTIONS = 4096
"""At once. A new one takes the place of another: see `BoundedProtocol`."""
HEAD_TIMEOUT_S = 20.0
"""For the head of a request to be complete, and for a new connection to begin its first."""
MAX_HEAD_BYTES = 64 * 1024
LINGER_S, LINGER_BYTES = 5.0, 8 << 20
"""After an answer that came before its request was complete, so much of the rest is read and thrown away. Closed at
once, the connection would be reset, and the caller might lose the answer."""
STALL_S, STALL_BYTES = 60.0, 128 * 1024
"""A caller must read so many bytes of a waiting answer in so many seconds."""


def raise_file_limit() -> int:
    """Raises the limit of open files as far as needed and allowed; returns how many connections fit in it.

    A request through the router takes two: one to its caller, one to the service.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * MAX_CONNECTIONS + 512
    limit = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        soft = limit
    return MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else max(16, min(MAX_CONNECTIONS, (soft - 256) // 2))


def bounded_protocol(most: int = MAX_CONNECTIONS) -> type[BoundedProtocol]:
    """The protocol for `uvicorn.Config(http=...)`, with at most `most` connections."""
    return type("BoundedProtocol", (BoundedProtocol,), {"most": most})


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    - There are at most `most`. A new one closes an idle one, of the address that has most connections the one that has
      been idle for longest. So an address with many cannot displace those of an address with few. Where none is idle,
      an address that has more than half gives up an unfinished upload to another address; else the new one gets 503
      with Retry-After.
    - A request's head has `HEAD_TIMEOUT_S` seconds (408) and `MAX_HEAD_BYTES` (431). Bytes that are not HTTP get 400.
    - An answer before its request's body is complete closes the connection, gently: see `LINGER_S`.
    - A caller that does not read its answer is disconnected: see `STALL_S`.
    """

    most: ClassVar[int] = MAX_CONNECTIONS

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head: asyncio.TimerHandle | None = None  # runs while a head is awaited
        self._head_bytes = 0
        self._stall: asyncio.TimerHandle | None = None  # runs while the caller does not read
        self._leaving: asyncio.TimerHandle | None = None  # runs after the last answer
        self._left_bytes = 0
        self._complete = True  # the body of the latest request
        self._idle_since = 0.0

    # The connection.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._idle_since = self.loop.time()
        if len(self.connections) > self.most and not self._take_place():
            busy = f"all {self.most:,} connections are at work"
            self._refuse(MissingService(busy, expected="fewer requests at once", fix="try again in a moment"))
            return
        self._await_head()

    def _take_place(self) -> bool:
        """Closes another connection for this one. False if none may be closed."""
        others = [one for one in self.connections if isinstance(one, BoundedProtocol) and one is not self]
        count = Counter(one._address for one in others)
        own = count[self._address]
        idle = [one for one in others if one.is_idle and count[one._address] >= own]
        unfinished = [one for one in others if not one._complete and count[one._address] > max(own, self.most // 2)]
        place = max(idle or unfinished, key=lambda one: (count[one._address], -one._idle_since), default=None)
        if place is not None:
            place.transport.abort()
        elif len(others) > self.most + 64:  # even those that are being refused
            self.transport.abort()
            return True
        return place is not None

    @property
    def _address(self) -> str:
        return self.client[0] if self.client else ""

    @property
    def is_idle(self) -> bool:
        """Whether no request is at work."""
        return self.cycle is None or (self.cycle.response_complete and not self.pipeline)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._head, self._stall, self._leaving):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():  # closing would wait until the caller reads
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    # The head of a request.

    def _await_head(self) -> None:
        if self._head is None:
            self._head_bytes = 0
            self._head = self.loop.call_later(HEAD_TIMEOUT_S, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head = None
        if not self._head_bytes:
            self.transport.close()
            return
        self._refuse(
            TooSlow(
                f"the head of the request was not complete after {HEAD_TIMEOUT_S:g} s",
                expected="a request that is sent without a pause",
                fix="send it again",
            )
        )

    def data_received(self, data: bytes) -> None:
        if self._leaving is not None:
            self._left_bytes += len(data)
            if self._left_bytes > LINGER_BYTES:
                self.transport.close()
            return
        if self._head is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._leaving is not None or self.transport.is_closing():
            return
        if self._head is not None and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(
                HeadTooLarge(
                    f"the head of the request is more than {MAX_HEAD_BYTES // 1024} KiB",
                    expected="a method, a path and headers",
                    fix="send data in the body",
                )
            )
        elif self.is_idle and self._complete:  # only line ends came
            self._await_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._complete = False
        self._await_head()

    def on_headers_complete(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None
        super().on_headers_complete()
        # Before its task has begun to run.
        self.cycle.transport = _Transport(self)  # type: ignore[assignment]

    def on_message_complete(self) -> None:
        self._complete = True
        super().on_message_complete()

    # Answers.

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        async def closing(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            async def sent(message: ASGISendEvent) -> None:
                if message["type"] == "http.response.start" and cycle is self.cycle and not self._complete:
                    cycle.keep_alive = False  # the answer says so to the caller
                await send(message)

            await app(scope, receive, sent)

        super()._start_asgi_task(cycle, closing)  # type: ignore[arg-type]

    def on_response_complete(self) -> None:
        self._idle_since = self.loop.time()
        if self._leaving is None:
            super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(
            BadRequest(
                "the request is not HTTP/1.1 (RFC 9112)",
                expected="one Content-Length of digits, or Transfer-Encoding: chunked; a known method",
                fix="let an HTTP library send it",
            )
        )

    def _refuse(self, error: VisionloopError) -> None:
        """Answers without the app, which has no request yet, and closes the connection."""
        if not self.is_idle:
            if self.cycle.response_started or self.pipeline:
                self.transport.close()
                return
            self.cycle.disconnected = True  # this is its answer
            self.cycle.message_event.set()
        answer = error_response(error, {REQUEST_ID_HEADER: uuid.uuid4().hex})
        answer.headers["connection"] = "close"
        head = b"".join(b"%s: %s\r\n" % header for header in answer.raw_headers)
        self.transport.write(STATUS_LINE[error.http_status] + head + b"\r\n" + answer.body)
        self._complete = False  # more may come
        self.close_gently()

    def close_gently(self) -> None:
        """Closes the connection after reading what the caller still sends: see `LINGER_S`."""
        if self.transport.is_closing() or self._leaving is not None:
            return
        if self._head is not None:
            self._head.cancel()
            self._head = None
        if self._complete or not self.transport.can_write_eof():
            self.transport.close()
            return
        self._leaving = self.loop.call_later(LINGER_S, self.transport.abort)
        self.transport.write_eof()
        self.flow.resume_reading()

    # Callers that do not read.

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stall is None:
            waiting = self.transport.get_write_buffer_size()
            self._stall = self.loop.call_later(STALL_S, self._check_progress, waiting)

    def resume_writing(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        super().resume_writing()

    def _check_progress(self, waiting_before: int) -> None:
        waiting = self.transport.get_write_buffer_size()
        if waiting_before - waiting < STALL_BYTES:
            self.transport.abort()
        else:
            self._stall = self.loop.call_later(STALL_S, self._check_progress, waiting)


class _Transport:
    """The transport that uvicorn's answers get: `close` is gentle."""

    def __init__(self, protocol: BoundedProtocol) -> None:
        self._protocol = protocol
        self.write = protocol.transport.write

    def is_closing(self) -> bool:
        return self._protocol._leaving is not None or self._protocol.transport.is_closing()

    def close(self) -> None:
        self._protocol.close_gently()
