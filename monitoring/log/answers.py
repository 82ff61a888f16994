"""What predictions answered, kept with them in the log: the findings as JSON, or the error of one that failed.

A large answer is not kept, and the oldest go when all of them take more than `answers_mb`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from registry.core.settings import settings

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


def of(row: Prediction) -> dict[str, Any] | None:
    """The answer of a prediction; None where it was too large, or is not kept any more."""
    kept = getattr(row, "answer", None)
    return dict(orjson.loads(kept.content)) if kept is not None else None


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
