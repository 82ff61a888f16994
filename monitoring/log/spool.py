"""The folder of segments that wait for the database, and its limit.

Segments wait while the database is away or nobody ships. Beyond `spool_mb` the oldest of those that no process holds
leave. How many predictions went with them is kept beside the segments, where every process and `status` reads it.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

from registry.core.files import write_file
from registry.core.settings import settings

MIB = 2**20
SEGMENTS = 8
"""At least so many segments make up the limit, so that what leaves at once is a small part of it."""


@dataclass(frozen=True)
class Dropped:
    """Predictions that left the full spool since the beginning. A line counts as well that had been shipped when the
    database went away in the middle of its segment.

    Attributes:
        counts: "<model>-<version>" -> predictions.
        last: when the last of them left, unix seconds; 0.0: none did.
    """

    counts: Mapping[str, int]
    last: float = 0.0

    @property
    def predictions(self) -> int:
        return sum(self.counts.values())

    def of(self, model: str, version: int) -> int:
        """Predictions of one version."""
        return self.counts.get(f"{model}-{version}", 0)

    def __str__(self) -> str:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.last))
        return f"{self.predictions:,} predictions dropped by the full spool (spool_mb), the last at {when}"


def folder() -> Path:
    """Where segments lie."""
    return settings().var / "spool"


def max_bytes() -> int:
    """How much room segments may take."""
    return settings().spool_mb * MIB


def dropped() -> Dropped:
    """What left so far."""
    try:
        said = orjson.loads((folder() / "dropped.json").read_bytes())
        return Dropped({str(k): int(v) for k, v in said["counts"].items()}, float(said["last"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Dropped({})


def trim() -> int:
    """Removes the oldest segments beyond the limit; returns how many predictions left with them.

    One process does so at a time; for another one there is nothing to do then. Segments that a process holds stay.

    Raises:
        OSError, StorageError: the disk.
    """
    if _used() <= max_bytes():
        return 0
    with (folder() / "trim.lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        return _trim()


def _used() -> int:
    return sum(size for _, size, _ in _segments())


def _segments() -> list[tuple[float, int, Path]]:
    """Time of the last line, bytes and path of each segment, the oldest first."""
    found = []
    for path in folder().glob("*.jsonl"):
        with suppress(OSError):
            status = path.stat()
            found.append((status.st_mtime, status.st_size, path))
    return sorted(found)


def _trim() -> int:
    segments = _segments()
    beyond = sum(size for _, size, _ in segments) - max_bytes()
    before = dropped().predictions
    for _, size, path in segments:
        if beyond <= 0:
            break
        if _remove(path):
            beyond -= size
    return dropped().predictions - before


def _remove(path: Path) -> bool:
    """Counts the lines of a segment that nobody holds, and removes it; whether it is gone."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True  # it was shipped meanwhile
    except OSError:
        return False
    with os.fdopen(handle, "rb") as segment:
        try:
            fcntl.flock(segment, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        counts = Counter(dropped().counts)
        for line in segment:
            with suppress(ValueError, KeyError, TypeError):
                said = orjson.loads(line)
                counts[f"{said['model']}-{said['version']}"] += 1
        write_file(folder() / "dropped.json", orjson.dumps({"counts": counts, "last": time.time()}))
        path.unlink(missing_ok=True)
    return True
