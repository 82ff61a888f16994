"""An id for every request: the caller's own from `X-Request-Id` if it is sane, else a new one. The answer repeats it,
errors too, and so does the log's line about a failure."""

from __future__ import annotations

import re
import uuid
from contextvars import ContextVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID_HEADER = "X-Request-Id"
_NAME = REQUEST_ID_HEADER.lower().encode()
_SANE = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
"""What may go into a log and a header as it is: ids of common libraries are UUIDs, ULIDs, or base64."""

_current: ContextVar[str] = ContextVar("request_id", default="")


def current() -> str:
    """The id of the request that this task works on; a new one outside of any."""
    return _current.get() or uuid.uuid4().hex


class RequestIds:
    """The ASGI middleware. The app sees the id in the request's headers.

    Args:
        classes: answers by the hundreds of their status are counted here, for metrics.
    """

    def __init__(self, app: ASGIApp, classes: list[int] | None = None) -> None:
        self.app = app
        self._classes = [0] * 6 if classes is None else classes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = [value for name, value in scope["headers"] if name == _NAME]
        number = given[0] if len(given) == 1 and _SANE.fullmatch(given[0]) else uuid.uuid4().hex.encode()
        _current.set(number.decode())
        ours = (_NAME, number)
        scope["headers"] = [*(one for one in scope["headers"] if one[0] != _NAME), ours]

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                others = [one for one in message.get("headers", ()) if one[0].lower() != _NAME]
                message = {**message, "headers": [*others, ours]}
                self._classes[min(message["status"] // 100, 5)] += 1
            await send(message)

        await self.app(scope, receive, sent)
