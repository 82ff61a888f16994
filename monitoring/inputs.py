"""Inputs of predictions, kept for a while: `var/inputs/<model>/<yyyy-mm-dd>/<id><suffix>`.

They are there so that a drifted input can be looked at and labelled. Both limits are settings, `retention_days`
and `retention_mb`; either at 0 keeps nothing. Labels lie beside their input and leave with it.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from registry.files import write_file
from registry.settings import settings

TRUTH = ".truth"
AT_ONCE = 50
"""Inputs that are looked at without letting other threads run."""
REST = 50
"""Times as long as looking through all of them took: at most a fiftieth of one core goes into it."""


class Pruned(NamedTuple):
    """What a pruning removed and what it left. Sizes in bytes."""

    files: int
    removed: int
    left: int


def folder() -> Path:
    return settings().var / "inputs"


def place(model: str, when: float, prediction_id: str, suffix: str) -> Path:
    """Where an input lies, whether or not it is (still) there. `when` is unix seconds."""
    day = datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d")
    return folder() / model / day / f"{prediction_id}{suffix}"


def keeps_any() -> bool:
    return settings().retention_days > 0 and settings().retention_mb > 0


def keep(path: Path, body: bytes) -> None:
    """Writes an input. Raises StorageError when the disk is full."""
    write_file(path, body)


def prune(now: float | None = None, every_s: float = 0.0) -> Pruned:
    """Removes inputs that are too old, then the oldest ones until the rest fits.

    All services share the folder: one process at a time does it, and none within `every_s` seconds of the last time, or
    within `REST` times what that took if it was longer.
    """
    root, now = folder(), time.time() if now is None else now
    if not root.is_dir():
        return Pruned(0, 0, 0)
    with (root / ".lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return Pruned(0, 0, 0)
        lock.seek(0)
        if every_s and now < _number(lock.read()):
            return Pruned(0, 0, 0)
        began = time.monotonic()
        pruned = _prune(root, now)
        lock.truncate(0)
        lock.write(str(now + max(every_s, REST * (time.monotonic() - began))))
        return pruned


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _prune(root: Path, now: float) -> Pruned:
    found = []
    for day in root.glob("*/*"):
        with suppress(OSError), os.scandir(day) as entries:
            for number, entry in enumerate(entries):
                if number % AT_ONCE == 0:
                    time.sleep(0.001)  # there are up to hundreds of thousands, and a service has requests to answer
                with suppress(OSError):
                    status = entry.stat()
                    found.append((status.st_mtime, status.st_size, Path(entry.path)))
    found.sort(key=lambda entry: entry[0])
    left = sum(size for _, size, _ in found)
    oldest, room = now - settings().retention_days * 86400, settings().retention_mb * 2**20
    files = removed = 0
    for modified, size, path in found:
        if modified >= oldest and left <= room:
            break
        with suppress(OSError):
            path.unlink()
            files, removed, left = files + 1, removed + size, left - size
    for day in root.glob("*/*"):
        with suppress(OSError):
            os.rmdir(day)  # fails, as it should, where there is still something in it
    return Pruned(files, removed, left)
