"""The caller of a request to the router: its body, within limits of size and time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from registry.errors import BadInput
from registry.settings import settings
from serving.stopwatch import CallerGone
from serving.uploads import MIB, limited

BUFFERED = 8 * MIB


class SlowBody(BadInput):
    """A body that does not come in time (RFC 9110, 15.5.9); clients know it as BadInput."""

    http_status = 408

    def __init__(self, limit_s: float) -> None:
        super().__init__(
            f"the body was not complete after {limit_s:g} s",
            expected="a body that is sent without a pause",
            mend="send it again, over a quicker line or smaller, or raise request_timeout_s",
        )

    def to_json(self) -> dict[str, object]:
        return {**super().to_json(), "error": BadInput.__name__}


class Nothing(Response):
    """The answer to a caller who has gone: none, which is no error of ours."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        pass


async def body_of(request: Request, max_bytes: int) -> bytes | AsyncIterator[bytes] | None:
    """Small bodies of known size as bytes, which is fastest; everything else as a stream that stops at the limit.

    Raises:
        TooLarge: more than `max_bytes`; of a stream, when it is read.
        SlowBody: a small one, which is held until it is complete, was not in time.
        CallerGone: the connection was closed before the body was complete.
    """
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) <= BUFFERED:
        return await read(request, max_bytes) or None
    if not length and "transfer-encoding" not in request.headers:
        return None
    return limited(request.stream(), max_bytes)


async def read(request: Request, max_bytes: int) -> bytes:
    """All of a body, within `request_timeout_s`. Raises TooLarge, SlowBody, CallerGone."""
    limit_s = settings().request_timeout_s
    try:
        async with asyncio.timeout(limit_s):
            return b"".join([chunk async for chunk in limited(request.stream(), max_bytes)])
    except TimeoutError as error:
        raise SlowBody(limit_s) from error
    except ClientDisconnect as error:
        raise gone() from error


def gone() -> CallerGone:
    return CallerGone("the caller went away before the body was complete")
