"""What belongs to an installation, and where it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from flows.stack.places import RESTORING

FIRST = ("spool", "usage")
"""Folders whose files go into the database. Copied before it: what is on its way is then in one or in both, and the
database takes each prediction and each batch of usage once."""
LAST = ("keys", "encryption.key")
"""Copied after all others: a key that is made meanwhile is in the copy if a file needs it."""
MADE_AGAIN = frozenset({"logs", "run", "locale", "looks.db", "bundles", "prefect", RESTORING})
"""What the stack makes anew, or fetches: not copied. Nor is Prefect's history; its deployments are offered again."""
DATABASE, MLFLOW = "visionloop.db", "mlflow.db"
"""Names of the two databases in a backup."""
PROJECT = ("data.dvc", "dvc.lock", "params.yaml")
"""Files of the project folder that say which data and parameters made the versions; git may not have them yet."""


def used(var: Path) -> list[str]:
    """What makes a `var` one that somebody uses: its entries, but for those that are made again."""
    if not var.is_dir():
        return []
    entries = [path for path in sorted(var.iterdir()) if path.name not in MADE_AGAIN | set(LAST)]
    return [path.name for path in entries if any(one.is_file() for one in (path, *path.rglob("*")))]


def on_their_way(var: Path) -> list[Path]:
    """The files of `FIRST`."""
    return [path for name in FIRST for path in _below(var / name)]


def files(var: Path, leave_out: frozenset[Path], *, keys: bool) -> list[Path]:
    """All other files, the keys at the end."""
    entries = sorted(var.iterdir()) if var.is_dir() else []
    names = [one.name for one in entries if one.name not in (*FIRST, *LAST, *MADE_AGAIN)]
    found = (path for name in (*names, *(LAST if keys else ())) for path in _below(var / name))
    return [path for path in found if path not in leave_out and not _is_scratch(path, var)]


def _below(path: Path) -> Iterator[Path]:
    if path.is_file() and not path.is_symlink():
        yield path
    elif path.is_dir() and not path.is_symlink():
        for folder, folders, names in os.walk(path):
            folders.sort()
            for name in sorted(names):
                found = Path(folder, name)
                if found.is_file():  # no sockets or pipes
                    yield found


def _is_scratch(path: Path, var: Path) -> bool:
    """Files that SQLite has beside a database; the copy has what is in them. And what a packaging leaves."""
    return path.name.endswith(("-wal", "-shm", "-journal")) or path.is_relative_to(var / "bentoml" / "staging")
