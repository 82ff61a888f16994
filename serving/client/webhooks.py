"""Checks webhooks where they arrive. Needs nothing but the standard library."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

from registry.core.errors import BadInput

TOLERANCE_S = 300
"""A call that is older, or from the future, is refused: somebody may send an old one again."""


def signature(message_id: str, sent_at: int | str, body: bytes, secret: str) -> str:
    """A value of `webhook-signature`, by Standard Webhooks 1.0.0: HMAC-SHA256 of id, time and body.

    Args:
        sent_at: unix seconds.
        secret: `whsec_` and base64.
    """
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{message_id}.{sent_at}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def verify(body: bytes, headers: Mapping[str, str], secret: str) -> dict[str, Any]:
    """The message of a webhook: `type`, `timestamp` and `data`, the task.

    Args:
        body: as it came.
        headers: of the request; names in any case.
        secret: `whsec_...`, of `Client.webhook_secret`.

    Raises:
        BadInput: it is not signed with this secret, or not within the last `TOLERANCE_S` seconds.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    message_id, sent_at = lower.get("webhook-id", ""), lower.get("webhook-timestamp", "")
    if not sent_at.isdigit() or abs(time.time() - int(sent_at)) > TOLERANCE_S:
        raise BadInput(
            f"webhook-timestamp is {sent_at[:40]!r}",
            expected=f"a time within {TOLERANCE_S} s",
            fix="refuse the request",
        )
    own = signature(message_id, sent_at, body, secret)
    if not any(hmac.compare_digest(one, own) for one in lower.get("webhook-signature", "").split()):
        raise BadInput("no webhook-signature is of this secret", expected="a signed request", fix="refuse the request")
    return dict(json.loads(body))
