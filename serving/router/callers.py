"""The caller of a request to the router: its body, within limits of size and time, and whether it is still there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from registry.core.errors import TooSlow
from registry.core.settings import settings
from serving.wire.admission import MIB, Reservation
from serving.wire.call import WATCH_AFTER_S
from serving.wire.deadline import CallerGone
from serving.wire.uploads import read_chunks

BUFFERED = 8 * MIB

T = TypeVar("T")


def name_of(scope: Scope) -> str:
    """Who asks: the key's id, where something before us has asked for one; else the client's address."""
    known = scope.get("state", {}).get("caller")
    client = scope.get("client")
    return str(known) if known else str(client[0]) if client else ""


class NoResponse(Response):
    """The answer to a caller who has gone: none, which is no error of ours."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        pass


class Caller:
    """Who sent a request and waits for its answer."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._sent = asyncio.Event()

    async def body(self, max_bytes: int, held: Reservation) -> bytes | AsyncIterator[bytes] | None:
        """Small bodies of known size as bytes, which is fastest; everything else as a stream that stops at the limit.

        Args:
            held: takes the room for what is held.

        Raises:
            TooLarge: more than `max_bytes`; of a stream, when it is read.
            TooSlow: it was not in time; of a stream, when it is read.
            Overloaded: there is no room for it.
            CallerGone: the connection was closed before the body was complete.
        """
        length = self._request.headers.get("content-length", "")
        if length.isdigit() and int(length) <= BUFFERED:
            held.check(int(length))
            found = await read(self._request, max_bytes, held) or None
        elif not length and "transfer-encoding" not in self._request.headers:
            found = None
        else:
            return self._stream(max_bytes)
        self._sent.set()
        return found

    async def _stream(self, max_bytes: int) -> AsyncIterator[bytes]:
        async for chunk in read_chunks(self._request, max_bytes):
            yield chunk
        self._sent.set()

    async def awaits(self, work: Awaitable[T]) -> T:
        """What the work gives; it is cancelled when the connection is closed. Raises CallerGone then.

        Costs a quick answer two timers: nobody is watched for the first `WATCH_AFTER_S`.
        """
        loop = asyncio.get_running_loop()
        watching: list[asyncio.Task[None]] = []
        try:
            async with asyncio.timeout(None) as limit:
                later = loop.call_later(WATCH_AFTER_S, lambda: watching.append(loop.create_task(self._watch(limit))))
                try:
                    return await work
                finally:
                    later.cancel()
                    for one in watching:
                        one.cancel()
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise CallerGone("the caller went away before the answer") from error

    async def _watch(self, limit: asyncio.Timeout) -> None:
        await self._sent.wait()  # until then the body's reader is told
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        limit.reschedule(0)  # which is now


async def read(request: Request, max_bytes: int, held: Reservation) -> bytes:
    """All of a body, within `request_timeout_s`. Raises TooLarge, TooSlow, Overloaded, CallerGone."""
    limit_s = settings().request_timeout_s
    try:
        async with asyncio.timeout(limit_s):
            return b"".join([chunk async for chunk in read_chunks(request, max_bytes, held.take)])
    except TimeoutError as error:
        raise TooSlow(
            f"the body was not complete after {limit_s:g} s",
            expected="a body that is sent without a pause",
            fix="send it again, over a quicker line or smaller, or have request_timeout_s raised",
        ) from error
    except ClientDisconnect as error:
        raise gone() from error


def gone() -> CallerGone:
    return CallerGone("the caller went away before the body was complete")
