"""Encrypted columns of the database: which keys they need, and the first key for their data keys.

A row in the clear, from before its column was encrypted, is left as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from registry.core import database
from registry.core.errors import EncryptionError
from registry.encryption.format import HEADER_BYTES, is_encrypted, key_ids
from registry.encryption.keys import keyring
from registry.encryption.rotation import KeyIds, is_done, rewrapped

if TYPE_CHECKING:
    from django.db.models import QuerySet

AT_ONCE = 100
"""Rows of a transaction: it keeps others from writing for a few hundredths of a second."""


def count_by_keys(rows: QuerySet[Any], field: str) -> Counter[KeyIds]:
    """How many of the rows need which keys. `field`: the encrypted column, bytes."""
    return Counter(key_ids(header) for _, header in _headers(rows, field))


def rotate(rows: QuerySet[Any], field: str) -> tuple[int, list[EncryptionError]]:
    """Wraps the data keys of a column with the first key, until it finds none that is left.

    Safe beside whatever reads and writes the rows, and may be killed at any moment.

    Returns:
        How many rows were changed, and the errors of those that could not be.
    """
    ring, done, failed = keyring(), 0, dict[Any, EncryptionError]()
    while True:
        # Again after the first time: a process may have been writing a row when the new key came.
        left = [pk for pk, header in _headers(rows, field) if not is_done(header, ring) and pk not in failed]
        if not left:
            return done, list(failed.values())
        for begin in range(0, len(left), AT_ONCE):
            done += _rewrap(rows, field, left[begin : begin + AT_ONCE], failed)


def _rewrap(rows: QuerySet[Any], field: str, keys: list[Any], failed: dict[Any, EncryptionError]) -> int:
    from django.db import transaction

    ring, done = keyring(), 0
    with transaction.atomic():
        found = dict(rows.select_for_update().filter(pk__in=keys).order_by().values_list("pk", field))
        for key, content in found.items():
            if not content:
                continue  # emptied meanwhile
            try:
                new = rewrapped(bytes(content), ring, f"row {key} of {rows.model._meta.db_table}")
            except EncryptionError as error:
                failed[key] = error
                continue
            done += rows.filter(pk=key).update(**{field: new})
    return done


def _headers(rows: QuerySet[Any], field: str) -> Iterator[tuple[Any, bytes]]:
    """Key and header of each encrypted row; the contents stay in the database."""
    from django.db.models import BinaryField
    from django.db.models.functions import Substr

    begins = rows.annotate(header=Substr(field, 1, HEADER_BYTES, output_field=BinaryField())).order_by()
    for key, header in database.stream(begins.values_list("pk", "header"), 2000):
        if header and is_encrypted(bytes(header)):
            yield key, bytes(header)
