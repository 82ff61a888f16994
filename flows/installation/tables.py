"""Copies the operational database between two engines, row by row, and proves that both have the same rows.

Django's models read and write the rows, so each engine gets its own types. All is one transaction: a copy that ends
early, whatever ends it, leaves the target as it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from registry.core.database_address import check_driver, database_entry
from registry.core.errors import DataError, MissingService, Refused, first_line

if TYPE_CHECKING:
    from django.db.models import Model

HERE, OTHER = "default", "other"
"""Django's names of the two databases: that of the settings, and the other one."""
CHUNK = 500
MADE_BY_MIGRATE = frozenset({"django_content_type", "auth_permission"})
"""Tables that `migrate` fills, with other ids in each database: the copy replaces their rows."""

OnTable = Callable[[str, int], None]
"""Called with (table, rows) after each table."""


class Contents(NamedTuple):
    """The rows of a table. `digest`: the sum of their sha256, modulo 2^256, in hex; their order does not matter."""

    rows: int
    digest: str


def models() -> list[type[Model]]:
    """Every model with a table, those between two others included."""
    from django.apps import apps

    return [one for one in apps.get_models(include_auto_created=True) if one._meta.managed and not one._meta.proxy]


@contextmanager
def other_database(url: str) -> Iterator[str]:
    """Opens a second database for a while; yields Django's name of it.

    Raises:
        SettingsError: the address is wrong, or PostgreSQL's driver is not installed.
        MissingService: it does not answer.
    """
    from django.db import DatabaseError, connections

    entry = database_entry(url)
    if not entry["ENGINE"].endswith("sqlite3"):
        check_driver(entry["OPTIONS"])
    connections.settings[OTHER] = connections.configure_settings({HERE: entry})[HERE]
    try:
        try:
            connections[OTHER].ensure_connection()
        except DatabaseError as error:
            raise MissingService(
                f"the database does not answer: {first_line(error)}",
                expected="a database that exists, and the user and password of its owner",
                fix="start it, or correct the address; docs/production.md has the commands that make one",
            ) from error
        yield OTHER
    finally:
        if OTHER in connections.settings:
            connections[OTHER].close()
            del connections[OTHER]
            del connections.settings[OTHER]


def make_tables(alias: str) -> None:
    """Creates the tables, or brings them up to date."""
    from django.core.management import call_command

    call_command("migrate", database=alias, verbosity=0, interactive=False)


def filled(alias: str) -> dict[str, int]:
    """Table -> rows of each that has some, of those that exist. Empty for a database that nobody has used."""
    from django.db import connections

    there = set(connections[alias].introspection.table_names())
    counts = {
        one._meta.db_table: one._base_manager.using(alias).count() for one in models() if one._meta.db_table in there
    }
    return {table: rows for table, rows in counts.items() if rows and table not in MADE_BY_MIGRATE}


def require_empty(alias: str, what: str) -> None:
    """Raises Refused if somebody has used the database."""
    found = filled(alias)
    if found:
        some = ", ".join(f"{table} ({rows:,})" for table, rows in sorted(found.items())[:3])
        raise Refused(
            f"{what} is not empty: {len(found)} tables have rows, e.g. {some}",
            expected="a database without rows; nothing is added to another installation's",
            fix="make an empty one, and name it",
        )


def copy(source: str, target: str, on_table: OnTable = lambda table, rows: None) -> dict[str, Contents]:
    """Copies all rows, compares each, and sets the sequences: in one transaction of either side.

    Args:
        source, target: Django's names. Both have the tables of today; the target is empty.

    Returns:
        Table -> what it holds, in both.

    Raises:
        DataError: a row that the target cannot hold, or that came out otherwise.
    """
    from django.core.management.color import no_style
    from django.db import connections, transaction

    every = models()
    with snapshot(source), transaction.atomic(using=target):
        for model in every:
            if model._meta.db_table in MADE_BY_MIGRATE:
                model._base_manager.using(target).all().delete()
        done = {}
        for model in every:
            done[model._meta.db_table] = _copy_table(model, source, target)
            on_table(model._meta.db_table, done[model._meta.db_table].rows)
        with connections[target].cursor() as cursor:
            for statement in connections[target].ops.sequence_reset_sql(no_style(), every):
                cursor.execute(statement)
    return done


@contextmanager
def snapshot(alias: str) -> Iterator[None]:
    """A transaction that sees one state of the database. SQLite's writers wait meanwhile (`transaction_mode`)."""
    from django.db import connections, transaction

    with transaction.atomic(using=alias):
        if connections[alias].vendor == "postgresql":
            with connections[alias].cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def contents(alias: str) -> dict[str, Contents]:
    """Table -> what it holds."""
    found = {}
    for model in models():
        hashes = [_hash(model, row) for rows in _chunks(model, alias) for row in rows]
        found[model._meta.db_table] = Contents(len(hashes), _sum(hashes))
    return found


def _copy_table(model: type[Model], source: str, target: str) -> Contents:
    from django.db import DatabaseError, connections
    from django.db.models.sql import InsertQuery

    fields, table = model._meta.concrete_fields, model._meta.db_table
    most = connections[target].ops.bulk_batch_size(fields, [None] * CHUNK)
    strict = connections[target].vendor == "postgresql"
    hashes: list[int] = []
    for rows in _chunks(model, source):
        if strict:
            for row in rows:
                _require_fit(model, row)
        for first in range(0, len(rows), most):
            # As loaddata does it: `raw` leaves times as they are, which `auto_now_add` would set anew.
            query = InsertQuery(model)
            query.insert_values(fields, rows[first : first + most], raw=True)
            try:
                query.get_compiler(using=target).execute_sql()
            except (DatabaseError, ValueError) as error:
                raise DataError(
                    f"the new database does not take rows of {table}: {first_line(error)}",
                    expected="rows that either engine can hold",
                    fix="correct or delete that row; the new database is as it was",
                ) from error
        hashes += _compared(model, rows, target)
    there = model._base_manager.using(target).count()
    if there != len(hashes):
        raise _differs(table, f"{there:,} rows came out of {len(hashes):,}")
    return Contents(len(hashes), _sum(hashes))


def _chunks(model: type[Model], alias: str) -> Iterator[list[Model]]:
    """The rows in the order of their primary keys, without a cursor on the server, which a pooler may not have."""
    rows, last = model._base_manager.using(alias).order_by("pk"), None
    while True:
        chunk = list((rows if last is None else rows.filter(pk__gt=last))[:CHUNK])
        if not chunk:
            return
        yield chunk
        last = chunk[-1].pk


def _compared(model: type[Model], rows: Sequence[Model], target: str) -> list[int]:
    """The hashes of rows that are the same in the target."""
    # Without the model's own order, which may join a table that is still empty.
    found = model._base_manager.using(target).filter(pk__in=[row.pk for row in rows]).order_by()
    there = {row.pk: _hash(model, row) for row in found}
    hashes = []
    for row in rows:
        hashes.append(_hash(model, row))
        if there.get(row.pk) != hashes[-1]:
            raise _differs(model._meta.db_table, f"the row {row.pk!r} is not the same there")
    return hashes


def _differs(table: str, how: str) -> DataError:
    return DataError(
        f"the copy of {table} differs: {how}",
        expected="the same rows on both sides",
        fix="the new database is as it was; run the command again, and report this if it stays",
    )


def _require_fit(model: type[Model], row: Model) -> None:
    """SQLite takes what PostgreSQL does not. Raises DataError, which names the row: the server's message would not."""
    for field in model._meta.concrete_fields:
        value = getattr(row, field.attname)
        text = value if isinstance(value, str) else json.dumps(value) if isinstance(value, dict | list) else ""
        limit = field.max_length if isinstance(value, str) else None
        why = ""
        if "\x00" in text or (not isinstance(value, str) and "\\u0000" in text):
            why = "has a NUL character"
        elif limit is not None and len(text) > limit:
            why = f"has {len(text)} characters (allowed: {limit})"
        if why:
            raise DataError(
                f"{field.name} of the row {row.pk!r} in {model._meta.db_table} {why}",
                expected="what PostgreSQL can hold",
                fix="correct or delete that row; the new database is as it was",
            )


def _hash(model: type[Model], row: Model) -> int:
    values = [_plain(getattr(row, field.attname)) for field in model._meta.concrete_fields]
    return int.from_bytes(hashlib.sha256(json.dumps(values, sort_keys=True).encode()).digest(), "big")


def _plain(value: Any) -> Any:
    """A value as either engine returns it: PostgreSQL's JSON has no order of keys, and writes 1e22 as an integer."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53:
        return float(value).hex()
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) <= 2**53 else value.hex()
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _sum(hashes: Sequence[int]) -> str:
    return f"{sum(hashes) % 2**256:064x}"
