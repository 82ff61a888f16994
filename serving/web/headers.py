"""Headers of every answer of the web application. An ASGI middleware around pages, files and static files alike."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",  # blob: a preview of a file before it is sent
        "media-src 'self' blob:",
        "connect-src 'self'",
        "font-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "form-action 'self'",
    )
)
"""No inline script or style anywhere, so no nonce, and no other host: https://www.w3.org/TR/CSP3/."""


class SecurityHeaders:
    """Adds the headers where the answer does not have them.

    Args:
        hsts: the value of Strict-Transport-Security; "": none.
    """

    def __init__(self, app: ASGIApp, hsts: str = "") -> None:
        self.app, self._hsts = app, hsts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Django writes names with capitals, ASGI wants none.
                message["headers"] = [(name.lower(), value) for name, value in message.get("headers", ())]
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", POLICY)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                if self._hsts:
                    headers.setdefault("Strict-Transport-Security", self._hsts)
                headers.setdefault("Referrer-Policy", "same-origin")
                headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
                headers.setdefault("Permissions-Policy", "camera=(self), geolocation=(), microphone=()")
            await send(message)

        await self.app(scope, receive, sent if scope["type"] == "http" else send)
