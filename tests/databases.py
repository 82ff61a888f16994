"""An operational database of a test's own."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from registry.core import database
from serving.web import configuration


@contextmanager
def own_database(path: Path) -> Iterator[Path]:
    """The operational database in an SQLite file, migrated: a copy, as the migrations take most of a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        with database_at(f"sqlite:///{path}"):
            yield path
        return
    path.write_bytes(_migrated())
    with _turned_to(f"sqlite:///{path}"):
        yield path


@contextmanager
def database_at(url: str) -> Iterator[None]:
    """The operational database at an address, migrated."""
    with _turned_to(url):
        database.migrate()
        yield


@functools.cache
def _migrated() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "visionloop.db"
        with database_at(f"sqlite:///{path}"):
            pass
        with closing(sqlite3.connect(path)) as made:
            return made.serialize()


@contextmanager
def _turned_to(url: str) -> Iterator[None]:
    """Django is configured once a process, so it is turned there: with the tables of the web application, too."""
    configuration.setup()
    from django.db import connections

    entry = connections.settings["default"]
    before = dict(entry)
    connections["default"].close()
    del connections["default"]
    entry.update({"OPTIONS": {}, **database.database_entry(url)})
    try:
        yield
    finally:
        connections["default"].close()
        del connections["default"]
        entry.clear()
        entry.update(before)
