"""The folder of segments that wait for the database, and its limit.

Segments wait while the database is away or no process ships. Beyond `spool_mb` the oldest are removed, unless
a process holds them. The number of predictions dropped with them is kept beside the segments, for every process and for
`visionloop status`.
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
"""The limit is at least this many segments, so that one removal drops a small part of it."""


@dataclass(frozen=True)
class Dropped:
    """Predictions that the full spool has dropped so far. Lines that had been shipped before the database went away in
    the middle of their segment are counted, too.

    Attributes:
        counts: "<model>-<version>" -> predictions.
        last: when the last one was dropped, unix seconds; 0.0 if none was.
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
    """The limit of all segments together."""
    return settings().spool_mb * MIB


def dropped() -> Dropped:
    """The count so far."""
    try:
        saved = orjson.loads((folder() / "dropped.json").read_bytes())
        return Dropped({str(k): int(v) for k, v in saved["counts"].items()}, float(saved["last"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Dropped({})


def waits_since() -> float:
    """When the oldest prediction was made that still waits, unix seconds; 0.0 where none waits."""
    times = []
    for path in folder().glob("*.jsonl"):
        with suppress(OSError, ValueError, KeyError, TypeError), path.open("rb") as segment:
            times.append(float(orjson.loads(segment.readline())["time"]))
    return min(times, default=0.0)


def trim() -> int:
    """Removes the oldest segments beyond the limit and returns how many predictions were dropped.

    Segments that a process holds stay. Only one process trims at a time; for others this returns 0.

    Raises:
        OSError, StorageError: the disk failed or is full.
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
    """(time of the last line, bytes, path) of each segment, the oldest first."""
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
    """Counts the lines of a segment that no process holds, and removes it. Returns whether it is gone."""
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
        if os.fstat(handle).st_nlink == 0:
            return True  # it was shipped between opening and locking
        counts = Counter(dropped().counts)
        for line in segment:
            with suppress(ValueError, KeyError, TypeError):
                record = orjson.loads(line)
                counts[f"{record['model']}-{record['version']}"] += 1
        write_file(folder() / "dropped.json", orjson.dumps({"counts": counts, "last": time.time()}))
        path.unlink(missing_ok=True)
    return True
