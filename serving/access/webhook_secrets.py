"""The secret with which a key's webhooks are signed. Unlike the key's own it is kept as it is: signing needs it."""

from __future__ import annotations

import base64
import secrets

from registry.core import database
from registry.core.errors import NotFound

PREFIX = "whsec_"
"""As Standard Webhooks writes it: https://www.standardwebhooks.com, before base64 of 24 to 64 bytes."""


def webhook_secret(key_id: str) -> str:
    """The secret of a key, made when it is first asked for. `key_id`: without `vl_`. Raises NotFound."""
    database.setup()
    from serving.access.models import Key

    made = PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
    Key.objects.filter(id=key_id, webhook_secret="").update(webhook_secret=made)
    found = Key.objects.filter(id=key_id).values_list("webhook_secret", flat=True).first()
    if found is None:
        raise NotFound(f"there is no key vl_{key_id}", expected="the id of a key", fix="check the id")
    return str(found)
