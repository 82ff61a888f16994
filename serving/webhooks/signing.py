"""The headers of a webhook, by Standard Webhooks 1.0.0: HMAC-SHA256 of id, time and body."""

from __future__ import annotations

import base64
import hashlib
import hmac


def signed_headers(message_id: str, body: bytes, secret: str, timestamp: int) -> dict[str, str]:
    """`webhook-id`, `webhook-timestamp` and `webhook-signature`.

    Args:
        secret: `whsec_` and base64.
        timestamp: of this attempt, unix seconds.
    """
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{message_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
        "Content-Type": "application/json",
    }
