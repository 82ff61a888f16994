"""The caller of a request to the router: reads its body within limits, and notices when it leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from registry.core.errors import TooSlow
from registry.core.settings import settings
from serving.wire.admission import MIB, Reservation
from serving.wire.call import WATCH_AFTER_S
from serving.wire.deadline import CallerGone, until_disconnected
from serving.wire.uploads import read_chunks

MAX_BUFFERED_BYTES = 8 * MIB
"""Bytes of a body, or an answer, that is held in memory; larger ones are streamed."""

T = TypeVar("T")


def name_of(scope: Scope) -> str:
    """The caller's name: the key's id where the access middleware has found a key, else the address."""
    known = scope.get("state", {}).get("caller")
    client = scope.get("client")
    return str(known) if known else str(client[0]) if client else ""


class NoResponse(Response):
    """Sends nothing, to a caller that has left."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        pass


class Caller:
    """The caller of one request, who waits for its answer."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._sent = asyncio.Event()

    async def body(self, max_bytes: int, held: Reservation) -> bytes | AsyncIterator[bytes] | None:
        """The body: bytes where it is small and of known size, else a stream; None where there is none.

        Args:
            held: takes the memory for the bytes.

        Raises:
            TooLarge: it has more than `max_bytes`; a stream raises this when it is read.
            TooSlow: it was not complete in time; a stream raises this when it is read.
            Overloaded: there is no memory for it.
            CallerGone: the connection was closed before the body was complete.
        """
        length = self._request.headers.get("content-length", "")
        if length.isdigit() and int(length) <= MAX_BUFFERED_BYTES:
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

    async def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` returns. It is cancelled when the caller closes the connection. Raises CallerGone then.

        A quick answer is cheap: the connection is watched after `WATCH_AFTER_S` only.
        """
        answer, left = asyncio.create_task(work), None
        try:
            await asyncio.wait([answer], timeout=WATCH_AFTER_S)
            if not answer.done():
                left = asyncio.create_task(self._disconnect())
                await asyncio.wait([answer, left], return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            answer.cancel()
            await asyncio.wait([answer])  # it may have something to close
            raise CallerGone("the caller went away before the answer")
        finally:
            for task in filter(None, (answer, left)):
                task.cancel()

    async def _disconnect(self) -> None:
        await self._sent.wait()  # before, the reader of the body notices
        await until_disconnected(self._request.receive)


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
            fix="send it again, over a quicker line or smaller",
        ) from error
    except ClientDisconnect as error:
        raise gone() from error


def gone() -> CallerGone:
    return CallerGone("the caller went away before the body was complete")
