"""The headers of a webhook, by Standard Webhooks 1.0.0."""

from __future__ import annotations

from serving.client.webhooks import signature


def signed_headers(message_id: str, body: bytes, secret: str, timestamp: int) -> dict[str, str]:
    """`webhook-id`, `webhook-timestamp` and `webhook-signature`.

    Args:
        secret: `whsec_` and base64.
        timestamp: of this attempt, unix seconds.
    """
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(message_id, timestamp, body, secret),
        "Content-Type": "application/json",
    }
