"""Zips that no run takes in do not stay for ever. With a Prefect that answers: `test_whole_office.py`."""

from __future__ import annotations

import os
import time
from pathlib import Path

from serving.operations import import_files


def test_zips_have_an_end_also_while_prefect_is_away(home: Path) -> None:
    """A run may still wait for one that is a day old; nobody says so."""
    import_files.folder().mkdir(parents=True)
    now = time.time()
    for name, days in (("new", 0.0), ("old", 1.0), ("forgotten", 8.0)):
        path = import_files.folder() / f"{name}.zip"
        path.write_bytes(b"PK")
        os.utime(path, (now - days * 86400, now - days * 86400))
    assert import_files.prune(now) == ["forgotten.zip"]
    assert sorted(path.name for path in import_files.folder().iterdir()) == ["new.zip", "old.zip"]


def test_nothing_is_asked_where_nothing_is_old(home: Path) -> None:
    assert import_files.prune() == []
