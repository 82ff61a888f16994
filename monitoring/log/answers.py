"""What predictions answered, kept with them in the log: the findings as JSON, or the error of one that failed.
Encrypted from the process that answered on, so that neither the spool nor the database has one in the clear.

A large answer is not kept, and the oldest go when all of them take more than `answers_mb`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from registry.core.settings import settings
from registry.encryption.files import decrypt_bytes, encrypt_bytes

if TYPE_CHECKING:
    from monitoring.log.models import Prediction

MAX_BYTES = 64 * 1024
"""The largest answer that is kept, bytes of JSON: some 600 boxes. Those of long videos are larger."""
ROWS_AT_ONCE = 500
MIB = 2**20


def pack(answer: Mapping[str, Any]) -> bytes | None:
    """An answer as JSON; None for one that is too large. Numbers that are not finite are null."""
    packed = orjson.dumps(answer, default=float)
    return packed if len(packed) <= MAX_BYTES else None


def seal(prediction_id: str, packed: bytes) -> bytes:
    """A packed answer, encrypted. Raises SettingsError, StorageError: there is no key."""
    return encrypt_bytes(packed, _name(prediction_id))


def of(row: Prediction) -> dict[str, Any] | None:
    """The answer of a prediction; None where it was too large, or is not kept any more. Raises EncryptionError."""
    kept = getattr(row, "answer", None)
    if kept is None:
        return None
    # Before 2026-12 answers were kept in the clear.
    packed = decrypt_bytes(bytes(kept.sealed), _name(row.id)) if kept.sealed is not None else kept.content
    return dict(orjson.loads(packed))


def _name(prediction_id: str) -> str:
    return f"answer {prediction_id}"


def prune(until: float) -> None:
    """Removes the oldest answers beyond `answers_mb`. `until`: when to stop, in seconds of the monotonic clock."""
    from django.db.models import Sum

    from monitoring.log.models import Answer

    beyond = (Answer.objects.aggregate(all=Sum("size"))["all"] or 0) - settings().answers_mb * MIB
    while beyond > 0 and time.monotonic() < until:
        chosen = []
        for key, size in Answer.objects.order_by("time").values_list("pk", "size")[:ROWS_AT_ONCE]:
            chosen.append(key)
            beyond -= size
            if beyond <= 0:
                break
        Answer.objects.filter(pk__in=chosen).delete()
