"""Usage for people and for invoices: rows by key, model and day."""

from __future__ import annotations

import csv
import io
from dataclasses import astuple, dataclass, fields
from datetime import date

from registry.core import database


@dataclass(frozen=True)
class UsageRow:
    """What one key asked of one model on one day (UTC). `key` is empty for callers without one.

    Attributes:
        requests: let through; `errors` of them were answered with 400 or more.
        refused: over quota, in addition.
        bytes_in, bytes_out: bodies, without headers.
        elapsed_ms: from the request's first byte to the answer's last one, summed.
    """

    day: date
    key: str
    name: str
    owner: str
    model: str
    requests: int
    errors: int
    refused: int
    bytes_in: int
    bytes_out: int
    elapsed_ms: float


def lines(first: date, last: date, key_id: str | None = None) -> list[UsageRow]:
    """What the database has for these days, both included; routers add to it each second."""
    database.setup()
    from serving.access.models import Key, Usage

    known = {key.id: key for key in Key.objects.only("id", "name", "owner")}
    rows = Usage.objects.filter(day__gte=first, day__lte=last)
    if key_id is not None:
        rows = rows.filter(key=key_id)
    return [
        UsageRow(
            row.day,
            f"vl_{row.key}" if row.key else "",
            known[row.key].name if row.key in known else "",
            known[row.key].owner if row.key in known else "",
            row.model,
            row.requests,
            row.errors,
            row.refused,
            row.bytes_in,
            row.bytes_out,
            round(row.milliseconds, 1),
        )
        for row in rows.order_by("day", "key", "model")
    ]


def as_csv(found: list[UsageRow]) -> str:
    """RFC 4180, with a header. A text that a spreadsheet would run as a formula gets an apostrophe in front."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([one.name for one in fields(UsageRow)])
    writer.writerows([[_harmless(value) for value in astuple(line)] for line in found])
    return out.getvalue()


def _harmless(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t") else value
