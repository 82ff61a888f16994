"""An operational database of a test's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from registry import database


@contextmanager
def own_database(path: Path) -> Iterator[Path]:
    """The operational database at `path`, migrated. Django is configured once a process, so its address is turned."""
    database.setup()
    from django.db import connections

    entry = connections.settings["default"]
    before = entry["NAME"]
    connections["default"].close()
    del connections["default"]
    entry["NAME"] = str(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    database.migrate()
    try:
        yield path
    finally:
        connections["default"].close()
        del connections["default"]
        entry["NAME"] = before
