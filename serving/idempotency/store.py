"""Requests with a key in the database, so that the answer holds over restarts and for every router."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from registry.core import database
from registry.encryption.files import decrypt_bytes, encrypt_bytes
from registry.encryption.format import is_encrypted

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from serving.idempotency.models import KeyedRequest

KEPT = timedelta(hours=24)
MAX_BYTES = 4 * 2**20
"""The largest answer that is kept."""
ALL_BYTES = 1 << 30
"""Of all kept answers; the oldest go first."""
GRACE = timedelta(seconds=30)
_AT_ONCE = 500


@dataclass(frozen=True)
class Claim:
    """The right to answer a request: nobody else answers it until the lease ends."""

    row: int
    owner: str


@dataclass(frozen=True)
class Earlier:
    """The same key was used before.

    Attributes:
        fingerprint: of what was asked then; "" while its body is still coming in.
        status: of the answer; None: there is none yet.
        body: None for one that was too large to be kept.
    """

    fingerprint: str
    status: int | None
    headers: tuple[tuple[str, str], ...]
    body: bytes | None


def begin(caller: str, key: str, fingerprint: str, takes: timedelta) -> Claim | Earlier:
    """Claims a caller's key for a request, or returns what it was used for.

    Args:
        fingerprint: of what is asked; "" where it is not known yet.
        takes: the longest that the request can take. After that, and `GRACE`, another may take its place.

    Raises:
        EncryptionError: the kept answer cannot be decrypted.
    """
    database.setup()
    from django.db import IntegrityError

    now, owner = datetime.now(UTC), uuid.uuid4().hex
    claimed = {"fingerprint": fingerprint, "owner": owner, "lease": now + takes + GRACE, "created": now}
    try:
        row = _rows().create(caller=caller, key=key, **claimed)
    except IntegrityError:
        row = _rows().filter(caller=caller, key=key).first()
        if row is None:  # it was removed this moment
            return begin(caller, key, fingerprint, takes)
    else:
        return Claim(row.pk, owner)
    abandoned = row.status is None and row.lease < now and row.fingerprint in ("", fingerprint)
    if abandoned or row.created < now - KEPT:
        empty: dict[str, Any] = {"status": None, "headers": [], "predictions": "", "size": 0, "body": None}
        if _rows().filter(pk=row.pk, owner=row.owner).update(**claimed, **empty):
            return Claim(row.pk, owner)
    return Earlier(row.fingerprint, row.status, tuple((n, v) for n, v in row.headers), _body(row))


def finish(
    claim: Claim, fingerprint: str, status: int, headers: list[tuple[str, str]], body: bytes | None, predictions: str
) -> None:
    """Keeps the answer, encrypted. `predictions`: ids, with blanks between.

    Raises:
        SettingsError, StorageError: there is no encryption key.
    """
    kept = body if body is not None and len(body) <= MAX_BYTES else None
    _claimed(claim).update(
        fingerprint=fingerprint,
        status=status,
        headers=headers,
        body=encrypt_bytes(kept, _name(claim.row)) if kept is not None else None,
        size=len(kept or b""),
        predictions=predictions,
    )


def give_up(claim: Claim) -> None:
    """Forgets a request whose answer is not to be kept: the same key may try again."""
    _claimed(claim).delete()


def forget(caller: str, prediction_id: str) -> None:
    """Removes the kept answers that hold a prediction."""
    database.setup()
    _rows().filter(caller=caller, predictions__contains=prediction_id).delete()


def forget_keys(caller: str, begin: str) -> None:
    """Removes a caller's requests whose keys begin with a text, with their kept answers."""
    database.setup()
    _rows().filter(caller=caller, key__startswith=begin).delete()


def forget_callers(callers: Collection[str]) -> None:
    """Removes all requests of these callers, with their kept answers."""
    database.setup()
    _rows().filter(caller__in=callers).delete()


def prune() -> None:
    """Removes what is older than `KEPT`, and the oldest beyond `ALL_BYTES`."""
    database.setup()
    from django.db.models import Sum

    _rows().filter(created__lt=datetime.now(UTC) - KEPT).delete()
    beyond = (_rows().aggregate(all=Sum("size"))["all"] or 0) - ALL_BYTES
    while beyond > 0:
        oldest = list(_rows().order_by("created").values_list("pk", "size")[:_AT_ONCE])
        _rows().filter(pk__in=[key for key, _ in oldest]).delete()
        beyond -= sum(size for _, size in oldest)


def _body(row: KeyedRequest) -> bytes | None:
    kept = bytes(row.body) if row.body is not None else None
    # Answers from before 2026-12 are in the clear, for 24 hours.
    return decrypt_bytes(kept, _name(row.pk)) if kept is not None and is_encrypted(kept) else kept


def _name(row: int) -> str:
    return f"answer to keyed request {row}"


def _rows() -> QuerySet[KeyedRequest]:
    from serving.idempotency.models import KeyedRequest

    return KeyedRequest.objects.all()


def _claimed(claim: Claim) -> QuerySet[KeyedRequest]:
    return _rows().filter(pk=claim.row, owner=claim.owner)
