"""An ASGI middleware around the router: asks for a key where one is needed, keeps quotas, and counts usage.

It never asks the database; `serving.access.control`'s threads do. It takes the key out of the headers, so that nothing
behind it sees a secret, and adds whose tasks the caller may see.
"""

from __future__ import annotations

import asyncio
import time
from ipaddress import ip_address

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from registry.core.errors import Forbidden, NotFound, Unauthorized, VisionloopError
from serving.access.control import Access, AdmittedRequest, NoQuota
from serving.access.rules import Requirement, requirement
from serving.access.usage import UsageCounts
from serving.wire.headers import TASK_OWNER_HEADER
from serving.wire.responses import error_response

CALLER, ADMITTED, ACCESS = "caller", "admitted", "access"
"""Keys of `scope["state"]`: a string, an `AdmittedRequest`, an `Access`."""
_TASKS_OF = TASK_OWNER_HEADER.lower().encode()


class AccessMiddleware:
    """The middleware. Sets `caller`, `access` and, for counted requests, `admitted` in `scope["state"]`."""

    def __init__(self, app: ASGIApp, access: Access | None = None) -> None:
        self.app = app
        self.access = access or Access()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif scope["type"] != "http":
            await self.app(scope, receive, send)
        else:
            await self._request(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown"):
                await asyncio.to_thread(self.access.stop)
            await send(message)

        await asyncio.to_thread(self.access.start)
        await self.app(scope, receive, sent)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            needed = requirement(scope)
        except NotFound as error:
            await _refusal(error)(scope, receive, send)
            return
        address = scope["client"][0] if scope.get("client") else ""
        token = take_key(scope)
        state = scope.setdefault("state", {})
        state[CALLER], state[ACCESS] = address, self.access
        if needed.open:
            await self.app(_without_body(scope), receive, send)
            return
        try:
            if needed.local and is_local(scope):
                await self.app(scope, receive, send)
                return
            if needed.local and not (needed.action and token):
                raise not_from_elsewhere(needed, scope["path"])
            if isinstance(token, Unauthorized):
                raise token
            admitted = self.access.admit(needed, token, address)
        except VisionloopError as error:
            if isinstance(error, NoQuota):
                self.access.count(error.key_id, needed.counted_model, UsageCounts(refused=1))
            await _refusal(error)(scope, receive, send)
            return
        state[CALLER], state[ADMITTED] = admitted.caller, admitted
        if admitted.tasks_of is not None:
            scope["headers"].append((_TASKS_OF, admitted.tasks_of.encode()))
        if needed.free:
            await self.app(_without_body(scope), receive, send)
        else:
            await self._counted(admitted, needed, scope, receive, send)

    async def _counted(
        self, admitted: AdmittedRequest, needed: Requirement, scope: Scope, receive: Receive, send: Send
    ) -> None:
        began, counts = time.perf_counter(), UsageCounts()
        model = needed.counted_model
        extra = admitted.quota.headers if admitted.quota else []
        gone = over = False
        # Counted now, so that the month's quota includes requests that are still at work.
        self.access.count(admitted.key_id, model, UsageCounts(requests=1))

        async def received() -> Message:
            nonlocal gone
            message = await receive()
            gone = gone or message["type"] == "http.disconnect"
            counts.bytes_in += len(message.get("body", b""))
            return message

        async def sent(message: Message) -> None:
            nonlocal over
            if message["type"] == "http.response.start":
                counts.errors = int(message["status"] >= 400)
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            else:
                counts.bytes_out += len(message.get("body", b""))
                over = not message.get("more_body", False)
            await send(message)

        try:
            await self.app(scope, received, sent)
        finally:
            if not over and not gone:  # an exception, or an incomplete answer
                counts.errors = 1
            counts.elapsed_ms = 1000 * (time.perf_counter() - began)
            self.access.count(admitted.key_id, model, counts)


def _without_body(scope: Scope) -> Scope:
    """The request without a body: where no key is needed, no body is read."""
    headers = [one for one in scope["headers"] if one[0] not in (b"content-length", b"transfer-encoding")]
    return {**scope, "headers": headers}


def take_key(scope: Scope) -> str | Unauthorized | None:
    """Takes the caller's key out of the headers; returns it, or the error of one that cannot be used.

    Other kinds of Authorization, and headers that only the router may set, are dropped.
    """
    bearer = other = None
    kept, misplaced = [], False
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            other = value
        elif name == b"authorization" and value[:7].lower() == b"bearer ":
            bearer = value[7:]
        elif name == b"authorization" and b"vl_" in value:
            misplaced = True
        elif name not in (b"authorization", _TASKS_OF):
            kept.append((name, value))
    found = other if bearer is None else bearer
    scope["headers"] = kept
    if (
        found is not None and other is not None and found.strip() != other.strip()
    ):  # it would not be clear whose request it is
        return Unauthorized(
            "the request has two keys that differ",
            expected="one key",
            fix="send `Authorization: Bearer vl_...` or `X-API-Key: vl_...`, not both",
        )
    if found is None and misplaced:
        return Unauthorized(
            "the Authorization header has a key without Bearer",
            expected="`Authorization: Bearer vl_...`, or `X-API-Key: vl_...`",
            fix="write `Bearer` and a space before the key",
        )
    return None if found is None else str(found.strip().decode("latin-1"))


def is_local(scope: Scope) -> bool:
    """Whether the caller is on this machine: at a loopback address, or at the one it is connected to.

    Behind a proxy uvicorn takes the caller's address from X-Forwarded-For.
    """
    address, server = scope["client"][0] if scope.get("client") else "", scope.get("server")
    try:
        return ip_address(address).is_loopback or bool(server and server[0] == address)
    except ValueError:
        return bool(server and server[0] == address)


def not_from_elsewhere(needed: Requirement, path: str) -> Forbidden:
    """The error of a caller on another machine that has no key which would do."""
    instead = f", or a key for the action {needed.action} and all models" if needed.action else ""
    return Forbidden(f"{path} is not for other machines", expected=f"a caller on the server's own machine{instead}")


def _refusal(error: VisionloopError) -> Response:
    answer = error_response(error)
    if isinstance(error, NoQuota):
        answer.raw_headers.extend(error.quota.headers)
    return answer
