"""An operational database of a test's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from registry.core import database


@contextmanager
def own_database(path: Path) -> Iterator[Path]:
    """The operational database in an SQLite file, migrated."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with database_at(f"sqlite:///{path}"):
        yield path


@contextmanager
def database_at(url: str) -> Iterator[None]:
    """The operational database at an address, migrated. Django is configured once a process, so it is turned there."""
    database.setup()
    from django.db import connections

    entry = connections.settings["default"]
    before = dict(entry)
    connections["default"].close()
    del connections["default"]
    entry.update({"OPTIONS": {}, **database.database_entry(url)})
    try:
        database.migrate()
        yield
    finally:
        connections["default"].close()
        del connections["default"]
        entry.clear()
        entry.update(before)
