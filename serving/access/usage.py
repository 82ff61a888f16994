"""What was asked: counted in memory, added to the database each second by a thread, never lost when that is away.

A flush is a batch with an id. It commits together with its id, so one whose fate is unknown (the connection broke
during the commit) can be tried again without counting twice. While the database is away the counts stay in memory
and, after each failed flush, in a file of `var/usage`; whatever process starts next adopts the files of dead ones.
What a `kill -9` can take is the last second.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, field, fields, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from registry.core import database
from registry.core.errors import StorageError
from registry.core.files import write_file
from registry.core.settings import settings

logger = logging.getLogger("visionloop.usage")

BATCHES_KEPT = timedelta(days=30)
"""How long a spool file may lie before its batch could be counted twice."""


@dataclass
class UsageCounts:
    """Sums over requests; see `serving.access.models.Usage`."""

    requests: int = 0
    errors: int = 0
    refused: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    milliseconds: float = 0.0

    def add(self, other: UsageCounts) -> None:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


@dataclass(frozen=True, order=True)
class UsageKey:
    """What is counted together. `day` is ISO; `key` is empty for callers without one."""

    key: str
    model: str
    day: str


@dataclass
class Flush:
    """Counts on their way into the database."""

    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    counts: dict[UsageKey, UsageCounts] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, "counts": [[*astuple(slot), asdict(counts)] for slot, counts in self.counts.items()]}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Flush:
        counts = {UsageKey(*map(str, slot)): UsageCounts(**values) for *slot, values in found["counts"]}
        return cls(str(found["id"]), counts)


class Meter:
    """This router's counts. `count` from any thread; `flush`, `adopt` and `close` from one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting = Flush()
        self._sent: Flush | None = None  # tried, and not known to be in the database
        self._months: dict[str, int] = {}  # requests by key in `_month`, as far as known
        self._month = datetime.now(UTC).strftime("%Y-%m")
        self._folder = settings().var / "usage"
        self._name = uuid.uuid4().hex
        self._handle = -1

    def count(self, key: str, model: str, now: datetime, counts: UsageCounts) -> None:
        """Adds to the sums of a key (empty: none) and a model (empty: none) on the day of `now` (UTC)."""
        day = now.date().isoformat()
        with self._lock:
            self._waiting.counts.setdefault(UsageKey(key, model, day), UsageCounts()).add(counts)
            if not day.startswith(self._month):
                self._months, self._month = {}, day[:7]
            if counts.requests and key:
                self._months[key] = self._months.get(key, 0) + counts.requests

    def month(self, key: str, now: datetime) -> int:
        """Requests of a key in this calendar month: of all routers seconds ago, and of this one since."""
        return self._months.get(key, 0) if now.strftime("%Y-%m") == self._month else 0

    def unflushed(self) -> list[Flush]:
        """A copy of what is not known to be in the database. A flush may come there meanwhile: see `are_written`."""
        with self._lock:
            found = [one for one in (self._sent, self._waiting) if one]
            return [Flush(one.id, {slot: replace(counts) for slot, counts in one.counts.items()}) for one in found]

    def flush(self) -> None:
        """Adds what waits to the database. Raises what the database raises; then nothing is lost."""
        with self._lock:
            if self._sent is None:
                if not self._waiting.counts:
                    return
                self._sent, self._waiting = self._waiting, Flush()
        try:
            _write(self._sent)
        except Exception:
            self._spool()
            raise
        self._sent = None
        if self._handle >= 0:
            self._spool()

    def read_month(self, now: datetime) -> None:
        """Brings `month` up to date with what other routers counted. Raises what the database raises."""
        database.setup()
        from django.db.models import Sum

        from serving.access.models import Usage

        month = now.strftime("%Y-%m")
        rows = Usage.objects.filter(day__gte=now.date().replace(day=1)).exclude(key="")
        sums = dict(rows.values("key").annotate(total=Sum("requests")).values_list("key", "total"))
        with self._lock:
            for slot, counts in self._unflushed().items():
                if slot.key and slot.day.startswith(month):
                    sums[slot.key] = sums.get(slot.key, 0) + counts.requests
            self._months, self._month = sums, month

    def adopt(self) -> None:
        """Adds what dead processes left in files. Raises what the database raises; the files stay then."""
        for path in sorted(self._folder.glob("*.json")):
            if path != self._path:
                with _claimed(path.with_suffix(".lock")) as mine:
                    if mine and path.is_file():
                        _adopt(path)

    def close(self) -> None:
        """The last flush; first into a file, as nobody may wait for a database that is slow to take it."""
        if any(one.counts for one in self.unflushed()):
            self._spool()
        try:
            self.flush()  # what was tried before
            self.flush()  # what came since
        except Exception as error:
            logger.warning("the usage of the last seconds waits in %s: %s", self._path, error)
        if self._handle >= 0:
            if not self._path.exists():
                self._path.with_suffix(".lock").unlink(missing_ok=True)
            os.close(self._handle)
            self._handle = -1

    @property
    def _path(self) -> Path:
        return self._folder / f"{self._name}.json"

    def _unflushed(self) -> dict[UsageKey, UsageCounts]:
        found: dict[UsageKey, UsageCounts] = {}
        for one in (self._sent, self._waiting):
            for slot, counts in one.counts.items() if one else ():
                found.setdefault(slot, UsageCounts()).add(counts)
        return found

    def _spool(self) -> None:
        """Makes our file what is not in the database; the lock beside it says that we live."""
        with self._lock:
            content = [one.to_json() for one in (self._sent, self._waiting) if one and one.counts]
        try:
            if not content:
                self._path.unlink(missing_ok=True)
                return
            if self._handle < 0:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._handle = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
                fcntl.flock(self._handle, fcntl.LOCK_EX)
            write_file(self._path, json.dumps(content))
        except (StorageError, OSError) as error:
            logger.warning("usage is kept in memory only: %s", error)


def _adopt(path: Path) -> None:
    try:
        flushes = [Flush.from_json(found) for found in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError, KeyError) as error:
        logger.warning("%s is not a file of counts (%s): it is set aside", path, error)
        path.rename(path.with_suffix(".rejected"))
        return
    for flush in flushes:
        _write(flush)
    path.unlink()
    path.with_suffix(".lock").unlink(missing_ok=True)


@contextmanager
def _claimed(path: Path) -> Iterator[bool]:
    """Whether the process behind a lock file is gone; until the end of the block nobody else finds that."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = True
        except BlockingIOError:
            mine = False
        yield mine
    finally:
        os.close(handle)


def are_written(flushes: Sequence[Flush]) -> frozenset[str]:
    """The ids of those that are in the database."""
    database.setup()
    from serving.access.models import Batch

    return frozenset(Batch.objects.filter(id__in=[one.id for one in flushes]).values_list("id", flat=True))


def _write(flush: Flush) -> None:
    """Adds a batch to the table, once."""
    database.setup()
    from django.db import transaction
    from django.db.models import F

    from serving.access.models import Batch, Usage

    now = datetime.now(UTC)
    with transaction.atomic():
        _, new = Batch.objects.get_or_create(id=flush.id, defaults={"time": now})
        if not new:
            return
        Batch.objects.filter(time__lt=now - BATCHES_KEPT).delete()
        for slot, counts in sorted(flush.counts.items()):  # sorted: two routers never wait for each other in a circle
            sums = asdict(counts)
            row, made = Usage.objects.get_or_create(
                key=slot.key, model=slot.model, day=date.fromisoformat(slot.day), defaults=sums
            )
            if not made:
                Usage.objects.filter(pk=row.pk).update(**{name: F(name) + value for name, value in sums.items()})
