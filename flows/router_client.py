"""The router, as this stack's own commands ask it."""

from __future__ import annotations

import base64
import json

from registry.core.errors import BadInput, MissingService, NotServed
from registry.core.settings import settings
from serving.client import Client

JSON = "application/json"


def router_client(address: str = "", *, timeout_s: float | None = None) -> Client:
    """A client with this machine's key. It ignores proxies, which cannot reach a router of this machine.

    Args:
        address: of the router. Default: this stack's.
        timeout_s: of one try. Default: `request_timeout_s`.
    """
    config = settings()
    return Client(
        address or config.router_address,
        config.api_key or None,
        timeout_s=timeout_s or config.request_timeout_s,
        trust_env=False,
    )


Answer = tuple[bytes, bytes, bytes]
"""The answer in the format that was asked for, the heat map or b"", and the answer in JSON where it is known."""


def ask(model: str, body: bytes, media: str, explain: bool) -> Answer:
    """The answer of the service in any format that the model offers. `Client` offers some of them as objects."""
    if not explain:
        return _post(model, body, media), b"", b""
    if media != JSON:
        return _post(model, body, media), _post(model, body, "image/jpeg", explain="true"), b""
    found = json.loads(_post(model, body, media, explain="true"))
    explanation = found["explanation"]
    if explanation["image"] is None:
        raise BadInput(explanation["why_not"], fix="leave --explain out to see the answer alone")
    heat = base64.b64decode(explanation.pop("image"))
    return json.dumps(found).encode(), heat, b""


def _post(model: str, body: bytes, media: str, **query: str) -> bytes:
    import httpx

    from serving.client.calls import error_of_response

    address = f"{settings().router_address}/v1/models/{model}/predict"
    headers = {"Accept": media, "Content-Type": "application/octet-stream", **settings().key_headers}
    limit = settings().request_timeout_s
    try:
        answer = httpx.post(address, params=query, content=body, headers=headers, timeout=limit, trust_env=False)
    except httpx.TransportError as error:
        raise MissingService(
            f"nothing answers at {address}", expected="the router", fix="`visionloop up`, or add --local"
        ) from error
    if answer.is_success:
        return answer.content
    refused = error_of_response(answer)
    if isinstance(refused, NotServed):  # what a caller is told to ask for, is to be done here
        refused.expected, refused.fix = "a released version", f"`visionloop run {model}` trains and releases one"
    raise refused
