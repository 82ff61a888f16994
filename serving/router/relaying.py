"""Requests as the router forwards them, answers as it returns them, and the errors between."""

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
from serving.wire.admission import MIB, Reservation
from serving.wire.headers import CALLER_HEADER, PREFIX_HEADER, ROLE_HEADER, Role

logger = logging.getLogger("visionloop.router")

# RFC 9110, section 7.6.1: these belong to one connection and are not passed on; nor are those that Connection names.
HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization te trailer transfer-encoding upgrade".split()
)
# The router sets these itself, and answers `expect`, because it reads the body.
OF_A_REQUEST = frozenset((CALLER_HEADER.lower().encode(), ROLE_HEADER.lower().encode(), b"host", b"expect"))
ROLE = ROLE_HEADER.lower().encode()
NOT_SENT_ON = HOP_BY_HOP | OF_A_REQUEST
NOT_RETURNED = HOP_BY_HOP | {ROLE, b"date"}
OWN_ERRORS = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL))
"""Errors of connecting that are this process's, not the service's."""
PIECE_BYTES = MIB // 4


@dataclass(frozen=True)
class Message:
    """A request as it is forwarded.

    Attributes:
        body: None, all bytes, or a stream that can be read once.
        held: the memory that the request and its answer take.
        pinned: the version that the caller wants; None for the plan's choice.
    """

    method: str
    rest: str
    query: str
    headers: CIMultiDict[str]
    body: bytes | AsyncIterator[bytes] | None
    held: Reservation
    pinned: int | None = None

    @property
    def whole(self) -> bool:
        """Whether it can be sent a second time."""
        return self.body is None or isinstance(self.body, bytes)

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent again after a service may have worked on it. A change of tasks may not."""
        changes = self.rest.partition("/")[0] == "tasks" and self.method not in ("GET", "HEAD")
        return self.whole and not changes

    @property
    def fetches_result(self) -> bool:
        """Whether it asks for a task's result."""
        first, _, rest = self.rest.partition("/")
        return first == "tasks" and rest.partition("/")[2] == "result"

    @property
    def counts(self) -> bool:
        """Whether it is counted in the traffic: it asks for work, not for a page or a state."""
        return self.method == "POST"


class Unreachable(Exception):
    """The service was not reached: it got nothing of the request."""


class ServiceDied(Exception):
    """The service ended while it had the request. `error` is for the caller."""

    def __init__(self, error: MissingService) -> None:
        self.error = error


class NoFault(MissingService):
    """A failure that is not the version's."""

    def to_json(self) -> dict[str, object]:
        return {**super().to_json(), "error": MissingService.__name__}


def log_failure(endpoint: Endpoint, what: str) -> MissingService:
    """Logs that a service failed a request. Returns the error for the caller."""
    logger.warning("the service of %s version %d at %s %s", endpoint.model, endpoint.version, endpoint.url, what)
    return MissingService(
        f"the service of {endpoint.model} version {endpoint.version} {what}",
        expected="an answer",
        fix="send the request again: the supervisor restarts a service that died",
    )


def is_own_error(error: BaseException) -> bool:
    """Whether connecting failed because this process lacks something, such as open files."""
    return isinstance(error, OSError) and error.errno in OWN_ERRORS


def no_connection(error: OSError) -> NoFault:
    logger.error("the router has no connection left: %s", error)
    return NoFault(
        "the router has no connection left for this request",
        expected="fewer requests at once",
        fix="try again in a moment",
    )


def upload_cut(endpoint: Endpoint) -> NoFault:
    """The error of an upload that a service, which is well, did not read to its end."""
    logger.info("%s version %d closed the connection in an upload", endpoint.model, endpoint.version)
    return NoFault(
        f"the service of {endpoint.model} version {endpoint.version} ended the connection before the body was complete",
        expected="a body that it takes",
        fix="check its size, its format and the number of files, then send it again",
    )


def request_headers(request: Request, caller: str, whole: bool) -> CIMultiDict[str]:
    """The headers to forward, with repeated ones. `whole`: the body's length is known, and aiohttp sets it."""
    raw = request.headers.raw
    dropped = NOT_SENT_ON | _named(raw) | {b"content-length" if whole else b""}
    found = CIMultiDict((n.decode("latin-1"), v.decode("latin-1")) for n, v in raw if n not in dropped)
    found[CALLER_HEADER] = caller
    found[PREFIX_HEADER] = f"/v1/models/{request.path_params['model']}"
    return found


def answer_headers(answer: aiohttp.ClientResponse, role: Role, message: Message) -> list[tuple[bytes, bytes]]:
    """The headers to return. The router sets the role, but a task's result keeps the role that computed it."""
    raw = [(name.lower(), value) for name, value in answer.raw_headers]
    dropped = NOT_RETURNED | _named(raw)
    worked = answer.headers.get(ROLE_HEADER) if message.fetches_result and answer.status in (200, 206, 304) else None
    return [
        *((n, v) for n, v in raw if n not in dropped),
        (ROLE, (worked or role).encode("latin-1")),
    ]


def _named(raw: Iterable[tuple[bytes, bytes]]) -> set[bytes]:
    """The headers that Connection names."""
    return {part.strip().lower() for name, value in raw if name == b"connection" for part in value.split(b",")}


class WholeAnswer(Response):
    """An answer in memory. It is sent in pieces: what the caller has not read stays here, where it counts towards the
    memory, and not in the connection's buffer."""

    def __init__(self, body: bytes, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        super().__init__(body, status)
        self.raw_headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        body = memoryview(self.body)
        for start in range(0, max(len(body), 1), PIECE_BYTES):
            piece, more = bytes(body[start : start + PIECE_BYTES]), start + PIECE_BYTES < len(body)
            await send({"type": "http.response.body", "body": piece, "more_body": more})
        if self.background is not None:
            await self.background()


class _CutOff(Exception):
    """The service ended in the middle of its answer."""


class StreamedAnswer(StreamingResponse):
    """An answer that is streamed.

    Args:
        held: closed when the answer is sent, or the caller is gone.
        cut_off: called when the service ends in the middle of the answer. The caller's connection is closed then, so
            that the caller sees that something is missing.
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
