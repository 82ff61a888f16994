"""The caller of a request to the router: its body, within limits of size and time."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.stopwatch import CallerGone
from serving.uploads import MIB, limited

BUFFERED = 8 * MIB


class Nothing(Response):
    """The answer to a caller who has gone: none, which is no error of ours."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        pass


async def body_of(request: Request, max_bytes: int) -> bytes | AsyncIterator[bytes] | None:
    """Small bodies of known size as bytes, which is fastest; everything else as a stream that stops at the limit.

    Raises:
        TooLarge: more than `max_bytes`; of a stream, when it is read.
        CallerGone: the connection was closed before the body was complete.
    """
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) <= BUFFERED:
        return await read(request, max_bytes) or None
    if not length and "transfer-encoding" not in request.headers:
        return None
    return limited(request.stream(), max_bytes)


async def read(request: Request, max_bytes: int) -> bytes:
    """All of a body. Raises TooLarge, CallerGone."""
    try:
        return b"".join([chunk async for chunk in limited(request.stream(), max_bytes)])
    except ClientDisconnect as error:
        raise gone() from error


def gone() -> CallerGone:
    return CallerGone("the caller went away before the body was complete")
