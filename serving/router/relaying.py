"""What goes through the router: a request as it is sent on, an answer as it comes back, and what can happen between."""

from __future__ import annotations

import errno
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp
from multidict import CIMultiDict
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from registry.core.errors import MissingService
from serving.releases.endpoints import Endpoint
from serving.releases.plans import Role
from serving.wire.admission import MIB, Reservation
from serving.wire.call import CALLER_HEADER, PREFIX_HEADER, ROLE_HEADER

logger = logging.getLogger("visionloop.router")

# RFC 9110, section 7.6.1: these belong to one connection and are not passed on; nor are those that Connection names.
HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
# The router says these itself. `expect` is answered by who reads the body, and that is the router.
OF_A_REQUEST = frozenset((CALLER_HEADER.lower().encode(), ROLE_HEADER.lower().encode(), b"host", b"expect"))
OF_AN_ANSWER = frozenset((ROLE_HEADER.lower().encode(), b"date"))
OURS_TO_BLAME = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL))
"""Errors of connecting that say something about this process, and nothing about the service."""
PIECE = MIB // 4


@dataclass(frozen=True)
class Message:
    """A request as it is sent on. `body`: None, all of it, or a stream that can be read once.

    `held` takes the room for what of it and its answer is in memory.
    """

    method: str
    rest: str
    query: str
    headers: CIMultiDict[str]
    body: bytes | AsyncIterator[bytes] | None
    held: Reservation

    @property
    def whole(self) -> bool:
        """Whether it can be sent a second time."""
        return self.body is None or isinstance(self.body, bytes)

    @property
    def again(self) -> bool:
        """Whether it may be, although a service may have worked on it: a task would be there twice, or be removed."""
        changes = self.rest.partition("/")[0] == "tasks" and self.method not in ("GET", "HEAD")
        return self.whole and not changes

    @property
    def fetches_result(self) -> bool:
        """Whether it asks for what a task has worked out."""
        first, _, rest = self.rest.partition("/")
        return first == "tasks" and rest.partition("/")[2] == "result"

    @property
    def counts(self) -> bool:
        """Whether it asks for work, and not for a page or a state."""
        return self.method == "POST"


class Unreached(Exception):
    """Nothing was sent, so nothing can happen twice."""


class Died(Exception):
    """The service ended under the request, or says that it is ending; `said` is what the caller hears of it."""

    def __init__(self, said: MissingService) -> None:
        self.said = said


class NoFault(MissingService):
    """A failure that says nothing about the version."""

    def to_json(self) -> dict[str, object]:
        return {**super().to_json(), "error": MissingService.__name__}


def died_at(endpoint: Endpoint, what: str) -> MissingService:
    """The error of a request whose service failed it; also noted in the log."""
    logger.warning("the service of %s version %d at %s %s", endpoint.model, endpoint.version, endpoint.url, what)
    return MissingService(
        f"the service of {endpoint.model} version {endpoint.version} {what}",
        expected="an answer",
        fix="send the request again: the supervisor restarts a service that died",
    )


def is_ours(error: BaseException) -> bool:
    """Whether connecting failed for want of something that this process has too little of."""
    return isinstance(error, OSError) and error.errno in OURS_TO_BLAME


def no_connection(error: OSError) -> NoFault:
    logger.error("the router has no connection left: %s", error)
    return NoFault(
        "the router has no connection left for this request",
        expected="fewer requests at once",
        fix="try again in a moment; who runs the router can allow it more open files (`ulimit -n`)",
    )


def upload_cut(endpoint: Endpoint) -> NoFault:
    """The error of an upload that a service which is well did not take to its end."""
    logger.info("%s version %d closed the connection in an upload", endpoint.model, endpoint.version)
    return NoFault(
        f"the service of {endpoint.model} version {endpoint.version} ended the connection before the body was complete",
        expected="a body that it takes",
        fix="check its size, its format and the number of files, then send it again",
    )


def request_headers(request: Request, caller: str, whole: bool) -> CIMultiDict[str]:
    """The headers as they are sent on, repeated ones too. The length of a body that is `whole` is known."""
    raw = request.headers.raw
    leave = HOP_BY_HOP | OF_A_REQUEST | _named(raw) | {b"content-length" if whole else b""}
    found = CIMultiDict((n.decode("latin-1"), v.decode("latin-1")) for n, v in raw if n not in leave)
    found[CALLER_HEADER] = caller
    found[PREFIX_HEADER] = f"/v1/models/{request.path_params['model']}"
    return found


def answer_headers(answer: aiohttp.ClientResponse, role: Role, message: Message) -> list[tuple[bytes, bytes]]:
    """The router knows better than a service of an older build which role a request had; but the result of a task has
    the role, as the version, that it was worked out in."""
    raw = [(name.lower(), value) for name, value in answer.raw_headers]
    leave = HOP_BY_HOP | OF_AN_ANSWER | _named(raw)
    worked = answer.headers.get(ROLE_HEADER) if message.fetches_result and answer.status in (200, 206, 304) else None
    return [
        *((n, v) for n, v in raw if n not in leave),
        (ROLE_HEADER.lower().encode(), (worked or role).encode("latin-1")),
    ]


def _named(raw: Iterable[tuple[bytes, bytes]]) -> set[bytes]:
    """The headers that Connection names."""
    return {part.strip().lower() for name, value in raw if name == b"connection" for part in value.split(b",")}


class Whole(Response):
    """An answer that is held in memory. It is sent in pieces, so that what its caller does not read stays here, where
    it is counted, and not in a buffer of the connection."""

    def __init__(self, body: bytes, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        super().__init__(body, status)
        self.raw_headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        body = memoryview(self.body)
        for start in range(0, max(len(body), 1), PIECE):
            piece, more = bytes(body[start : start + PIECE]), start + PIECE < len(body)
            await send({"type": "http.response.body", "body": piece, "more_body": more})
        if self.background is not None:
            await self.background()


class _CutOff(Exception):
    """The service ended in the middle of its answer."""


class Passed(StreamingResponse):
    """An answer that is passed on as it comes. What it holds is given back when it is through, or the caller gone.

    Args:
        cut_off: called when the service ends in the middle of it. The caller's connection is closed then, so that it
            sees that something is missing.
    """

    def __init__(
        self,
        answer: aiohttp.ClientResponse,
        headers: list[tuple[bytes, bytes]],
        held: AsyncExitStack,
        cut_off: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(_pieces(answer), answer.status)
        self.raw_headers = headers
        self._held, self._cut_off = held, cut_off

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._held:
            try:
                await super().__call__(scope, receive, send)
            except _CutOff:
                await self._cut_off()


async def _pieces(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for piece in answer.content.iter_any():
            yield piece
    except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
        raise _CutOff from error
