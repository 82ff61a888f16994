"""Usage: counted in memory, and added to the database each second by a thread.

A flush is a batch with an id and commits together with the id. So it can be repeated without counting twice where the
connection broke during the commit. While the database is away the counts stay in memory and, after each failed flush,
in a file of `var/usage`. The next process adopts the files of dead ones. A `kill -9` loses the last second at most.
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
from dataclasses import asdict, astuple, dataclass, field, replace
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
_RENAMED = {"milliseconds": "elapsed_ms"}
"""In spool files of earlier versions."""


@dataclass
class UsageCounts:
    """Sums over requests; see `serving.access.models.Usage`."""

    requests: int = 0
    errors: int = 0
    refused: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    elapsed_ms: float = 0.0

    def add(self, other: UsageCounts) -> None:
        for name, more in vars(other).items():
            setattr(self, name, getattr(self, name) + more)


@dataclass(frozen=True, order=True)
class UsageKey:
    """What is counted together: a key's id ("" without a key), a model ("" without a model) and a day (ISO)."""

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
        counts = {}
        for *slot, values in found["counts"]:
            values = {_RENAMED.get(name, name): value for name, value in values.items()}
            counts[UsageKey(*map(str, slot))] = UsageCounts(**values)
        return cls(str(found["id"]), counts)


class Meter:
    """This router's counts. Call `count` from any thread; `flush`, `adopt` and `close` from one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting = Flush()
        self._sent: Flush | None = None  # tried, but perhaps not in the database
        self._months: dict[str, int] = {}  # requests in `_month` by key, as far as known
        self._month = datetime.now(UTC).strftime("%Y-%m")
        self._folder = settings().var / "usage"
        self._name = uuid.uuid4().hex
        self._handle = -1

    def count(self, key: str, model: str, now: datetime, counts: UsageCounts) -> None:
        """Adds to the sums of a key and a model ("" for none) on the day of `now` (UTC)."""
        day = now.date().isoformat()
        with self._lock:
            self._waiting.counts.setdefault(UsageKey(key, model, day), UsageCounts()).add(counts)
            if not day.startswith(self._month):
                self._months, self._month = {}, day[:7]
            if counts.requests and key:
                self._months[key] = self._months.get(key, 0) + counts.requests

    def month(self, key: str, now: datetime) -> int:
        """Requests of a key in this calendar month: all routers' until seconds ago, and this one's since."""
        return self._months.get(key, 0) if now.strftime("%Y-%m") == self._month else 0

    def unflushed(self) -> list[Flush]:
        """A copy of the flushes that may not be in the database yet; `are_written` says which ones are."""
        with self._lock:
            found = [one for one in (self._sent, self._waiting) if one]
            return [Flush(one.id, {slot: replace(counts) for slot, counts in one.counts.items()}) for one in found]

    def flush(self) -> None:
        """Adds the waiting counts to the database. Raises what the database raises; nothing is lost then."""
        with self._lock:
            if self._sent is None:
                if not self._waiting.counts:
                    return
                self._sent, self._waiting = self._waiting, Flush()
        try:
            write_flush(self._sent)
        except Exception:
            self._spool()
            raise
        self._sent = None
        if self._handle >= 0:
            self._spool()

    def read_month(self, now: datetime) -> None:
        """Adds other routers' counts to `month`. Raises what the database raises."""
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
        """Adds the counts in dead processes' files. Raises what the database raises; the files stay then."""
        for path in sorted(self._folder.glob("*.json")):
            if path != self._path:
                with _claimed(path.with_suffix(".lock")) as mine:
                    if mine and path.is_file():
                        _adopt(path)

    def close(self) -> None:
        """Flushes for the last time. Writes a file first, in case the database takes too long."""
        if any(one.counts for one in self.unflushed()):
            self._spool()
        try:
            self.flush()  # the flush that was tried before
            self.flush()  # the counts since
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
        """Writes the counts that are not in the database into our file. The lock beside it shows that we live."""
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
        write_flush(flush)
    path.unlink()
    path.with_suffix(".lock").unlink(missing_ok=True)


@contextmanager
def _claimed(path: Path) -> Iterator[bool]:
    """Whether the process behind a lock file is gone. Until the end of the block no other process is told so."""
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
    """The ids of the flushes that are in the database."""
    database.setup()
    from serving.access.models import Batch

    return frozenset(Batch.objects.filter(id__in=[one.id for one in flushes]).values_list("id", flat=True))


def write_flush(flush: Flush) -> None:
    """Adds a flush to the table, once."""
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
        for slot, counts in sorted(flush.counts.items()):  # sorted, so that two routers cannot deadlock
            sums = asdict(counts)
            row, made = Usage.objects.get_or_create(
                key=slot.key, model=slot.model, day=date.fromisoformat(slot.day), defaults=sums
            )
            if not made:
                Usage.objects.filter(pk=row.pk).update(**{name: F(name) + value for name, value in sums.items()})
