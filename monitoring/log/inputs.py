"""Inputs of predictions, kept for a while: `var/inputs/<model>/<yyyy-mm-dd>/<id><suffix>`.

They are kept so that drifted inputs can be looked at and labelled. The settings `retention_days` and `retention_mb` are
the limits; 0 in either keeps nothing. A label lies beside its input as `<id>.truth`. A labelled input has limits of its
own (`label_days`, counted from the label, and `label_mb`), and is removed together with its label.

Both are encrypted. Those that were kept before they were encrypted are read all the same.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from registry.core.errors import BadInput, EncryptionError, MissingKey
from registry.core.settings import settings
from registry.encryption import files

logger = logging.getLogger("visionloop.log")

TRUTH = ".truth"
BATCH = 50
"""Files to look at before other threads may run."""
REST = 50
"""The pause between two prunings is at least so many times as long as the last one took: at most 1/50 of a core."""


class Pruned(NamedTuple):
    """What a pruning did: files removed, bytes removed, bytes left."""

    files: int
    removed: int
    left: int


def folder() -> Path:
    return settings().var / "inputs"


def path_of(model: str, when: float, prediction_id: str, suffix: str) -> Path:
    """The path of an input, which need not exist. `when` is in unix seconds."""
    day = datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d")
    return folder() / model / day / f"{prediction_id}{suffix}"


def is_kept() -> bool:
    return settings().retention_days > 0 and settings().retention_mb > 0


def keep(path: Path, content: bytes) -> None:
    """Encrypts an input, or a label, into `path`. Raises StorageError."""
    files.write_file(path, content, path.name)


def read(path: Path, most: int | None = None) -> bytes:
    """A kept input or label, or its first `most` bytes.

    Raises:
        FileNotFoundError: it is no longer kept.
        BadInput: the file is damaged. It stays so, and nothing waits for it.
        MissingKey: its encryption key is not here.
    """
    try:
        return files.read_file(path, path.name, most, or_plain=True)
    except MissingKey:
        raise
    except EncryptionError as error:
        logger.warning("a kept file is damaged: %s", error)
        raise BadInput(
            f"the kept file {path.name} is damaged",
            expected="the file as it was kept",
            fix="send the input again, and label that answer",
        ) from error


def prune(now: float | None = None, every_s: float = 0.0) -> Pruned:
    """Removes inputs that are too old, then the oldest ones until the rest fits.

    All services share the folder. One process prunes at a time, and none within `every_s` seconds of the last pruning,
    or within `REST` times its duration if that is longer.
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


class _Kept(NamedTuple):
    """An input, with its label if it has one. `time` is the newest modification, unix seconds; `size` in bytes."""

    time: float
    size: int
    labelled: bool
    paths: tuple[Path, ...]


def _prune(root: Path, now: float) -> Pruned:
    found = _scan(root)
    limits = settings()
    both = (
        _surplus([one for one in found if not one.labelled], now, limits.retention_days, limits.retention_mb),
        _surplus([one for one in found if one.labelled], now, limits.label_days, limits.label_mb),
    )
    files = removed = 0
    for one in (one for chosen in both for one in chosen):
        for path in one.paths:
            with suppress(OSError):
                size = path.stat().st_size
                path.unlink()
                files, removed = files + 1, removed + size
    for day in root.glob("*/*"):
        with suppress(OSError):
            os.rmdir(day)  # fails, as it should, where there is still something in it
    return Pruned(files, removed, sum(one.size for one in found) - removed)


def _scan(root: Path) -> list[_Kept]:
    groups: dict[tuple[str, str], _Kept] = {}
    for day in root.glob("*/*"):
        with suppress(OSError), os.scandir(day) as entries:
            for number, entry in enumerate(entries):
                if number % BATCH == 0:
                    time.sleep(0.001)  # there are up to hundreds of thousands, and a service has requests to answer
                with suppress(OSError):
                    status = entry.stat()
                    key = (str(day), entry.name.partition(".")[0])
                    one = groups.get(key, _Kept(0.0, 0, False, ()))
                    groups[key] = _Kept(
                        max(one.time, status.st_mtime),
                        one.size + status.st_size,
                        one.labelled or entry.name.endswith(TRUTH),
                        (*one.paths, Path(entry.path)),
                    )
    return list(groups.values())


def _surplus(kept: list[_Kept], now: float, days: float, megabytes: float) -> list[_Kept]:
    """Those that are too old, then the oldest until the rest fits."""
    kept.sort(key=lambda one: one.time)
    left, oldest, room = sum(one.size for one in kept), now - days * 86400, megabytes * 2**20
    for count, one in enumerate(kept):
        if one.time >= oldest and left <= room:
            return kept[:count]
        left -= one.size
    return kept
