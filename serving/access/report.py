"""Usage for people and for invoices: rows by key, model and day."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import fields
from datetime import date

from registry.core import database
from serving.access.usage import UsageCounts, UsageKey
from serving.client.key_schemas import UsageRow

COLUMNS = ("day", "key", "name", "owner", "model", *(one.name for one in fields(UsageCounts)))


class NamedUsageRow(UsageRow):
    """A row with the key's name and owner; "" without a key."""

    name: str
    owner: str


def read(first: date, last: date, key_id: str | None = None) -> dict[UsageKey, UsageCounts]:
    """What the database has for these days, both included. Routers add to it each second.

    Args:
        key_id: only this key's usage; "" for callers without a key.
    """
    database.setup()
    from serving.access.models import Usage

    rows = Usage.objects.filter(day__gte=first, day__lte=last)
    if key_id is not None:
        rows = rows.filter(key=key_id)
    names = [field.name for field in fields(UsageCounts)]
    return {
        UsageKey(row.key, row.model, row.day.isoformat()): UsageCounts(**{name: getattr(row, name) for name in names})
        for row in rows.order_by("day", "key", "model")
    }


def row_of(slot: UsageKey, counts: UsageCounts) -> UsageRow:
    """Usage of one model by one key on one day, as the API and the command line show it."""
    return UsageRow(
        day=date.fromisoformat(slot.day),
        key=f"vl_{slot.key}" if slot.key else "",
        model=slot.model,
        **{**vars(counts), "elapsed_ms": round(counts.elapsed_ms, 1)},
    )


def rows(first: date, last: date, key_id: str | None = None) -> list[NamedUsageRow]:
    """As `read`, with the keys' names, by day, key and model."""
    found = read(first, last, key_id)
    from serving.access.models import Key

    known = {key.id: (key.name, key.owner) for key in Key.objects.only("id", "name", "owner")}
    named = []
    for slot, counts in found.items():
        name, owner = known.get(slot.key, ("", ""))
        named.append(NamedUsageRow(**dict(row_of(slot, counts)), name=name, owner=owner))
    return named


def as_csv(found: Iterable[NamedUsageRow]) -> str:
    """RFC 4180, with a header. A text that a spreadsheet would run as a formula gets an apostrophe before it."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    writer.writerows([[_harmless(getattr(row, name)) for name in COLUMNS] for row in found])
    return out.getvalue()


def _harmless(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t") else value
