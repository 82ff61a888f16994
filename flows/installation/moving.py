"""`visionloop migrate-db`: moves the operational database to another engine."""

from __future__ import annotations

from flows.installation import tables
from flows.installation.tables import Contents, OnTable
from flows.stack.control import Stack
from registry.core import database
from registry.core.errors import Refused
from registry.core.settings import settings
from serving.web import configuration


def require_stopped(what: str) -> None:
    """Raises Refused while the stack of this installation runs."""
    if Stack().running():
        raise Refused(
            f"the stack runs, and would write meanwhile: {what}",
            expected="a stopped stack, on every machine that uses this database",
            fix="`visionloop down`",
        )


def require_alone(alias: str) -> None:
    """Raises Refused while other programs are connected to a PostgreSQL database, from whatever machine."""
    from django.db import connections

    if connections[alias].vendor != "postgresql":
        return
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT count(*), coalesce(min(host(client_addr)), 'this machine') FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        count, where = cursor.fetchone()
    if count:
        raise Refused(
            f"{count} other connections to the PostgreSQL database are open, e.g. from {where}",
            expected="nobody who writes meanwhile",
            fix="`visionloop down` on every machine, and close other clients",
        )


def move(url: str, on_table: OnTable = lambda table, rows: None) -> dict[str, Contents]:
    """Copies the operational database of the settings to `url`. The old one stays as it is.

    Raises:
        Refused: the stack runs, the target is not empty or is the database of the settings, or others are connected.
        MissingService: the target does not answer.
        DataError: a row that the target cannot hold. The target stays without rows.
    """
    require_stopped("what it wrote would be missing in the new database")
    if database.database_entry(url)["NAME"] == database.database_entry(settings().database)["NAME"] and (
        _place(url) == _place(settings().database)
    ):
        raise Refused("that is the database of the settings", expected="another one", fix="correct the address")
    configuration.setup()
    database.migrate()
    with tables.other_database(url) as other:
        for alias in (tables.HERE, other):
            require_alone(alias)
        tables.require_empty(other, "the new database")
        tables.make_tables(other)
        return tables.copy(tables.HERE, other, on_table)


def _place(url: str) -> tuple[str, str, str]:
    entry = database.database_entry(url)
    return str(entry["ENGINE"]), str(entry.get("HOST", "")), str(entry.get("PORT", "") or "5432")
