"""Counts of requests by version and role: added up in the router's memory, and written to the database every second."""

from __future__ import annotations

import math
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from registry.core import database
from serving.releases.plans import Plan
from serving.wire.headers import Role

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from serving.releases.models import Traffic as Row

BUCKET_WIDTH = math.log(1.05)
SMALLEST_MS = 0.05
KEPT_DAYS = 30
KEPT_IN_MEMORY = timedelta(hours=1)
SETTLED = timedelta(minutes=3)
"""How old a minute is when every router that reaches the database has written it."""
CHECKED_EVERY_S = 60.0
K = TypeVar("K")
COMPARED = ("compared", "disagreed", "agreement")


@dataclass
class Latencies:
    """A histogram of milliseconds. Its buckets grow by 5 %, so a quantile is at most that far off."""

    buckets: Counter[int] = field(default_factory=Counter)

    def add(self, ms: float) -> None:
        self.buckets[max(0, math.ceil(math.log(max(ms, SMALLEST_MS) / SMALLEST_MS) / BUCKET_WIDTH))] += 1

    @property
    def count(self) -> int:
        return self.buckets.total()

    def quantile(self, share: float) -> float:
        """Upper end of the quantile's bucket, milliseconds; NaN without calls."""
        below = 0
        for bucket in sorted(self.buckets):
            below += self.buckets[bucket]
            if below >= share * self.count:
                return SMALLEST_MS * math.exp(bucket * BUCKET_WIDTH)
        return math.nan

    def known_quantile(self, share: float, digits: int | None = None) -> float | None:
        """As `quantile`, rounded to `digits`; None without calls, as JSON and tables have it."""
        value = self.quantile(share)
        return None if math.isnan(value) else value if digits is None else round(value, digits)

    def since(self, earlier: Latencies) -> Latencies:
        """The calls after `earlier`, which is this histogram at an earlier time."""
        return Latencies(self.buckets - earlier.buckets)


@dataclass
class RoleCounts:
    """The counts of one version in one role; `serving.releases.models.Traffic` explains the fields.

    Attributes:
        classes: calls by the hundreds of their status; [0]: the caller left, or the version was not to blame. Only for
            metrics, so no column of the database.
    """

    calls: int = 0
    errors: int = 0
    retried: int = 0
    refused: int = 0
    dropped: int = 0
    compared: int = 0
    disagreed: int = 0
    agreement: float = 0.0
    latencies: Latencies = field(default_factory=Latencies)
    classes: list[int] = field(default_factory=lambda: [0] * 6)

    def answered(self, status: int, ms: float | None) -> None:
        """Counts a call. `status`: see `classes`; `ms`: None where it says nothing about the version's latency."""
        self.calls += 1
        self.errors += status >= 500
        self.refused += status == 429
        self.classes[min(status // 100, 5)] += 1
        if ms is not None:
            self.latencies.add(ms)

    def add(self, other: RoleCounts) -> None:
        for name in SUMMED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.latencies.buckets.update(other.latencies.buckets)
        self.classes = [mine + theirs for mine, theirs in zip(self.classes, other.classes, strict=True)]


SUMMED = ("calls", "errors", "retried", "refused", "dropped", "compared", "disagreed", "agreement")


@dataclass(frozen=True)
class TrafficKey:
    """What is counted together."""

    model: str
    version: int
    role: str
    revision: int
    minute: datetime


class TrafficCounter:
    """The counts of one router. Counting belongs to the event loop, `write` to the thread with the connection.

    A row belongs to one router, which writes its whole sum each time. So a write can be repeated without counting twice
    where the connection broke during the commit.
    """

    def __init__(self) -> None:
        self._router = uuid.uuid4().hex
        self._counts: dict[TrafficKey, RoleCounts] = {}
        self._unwritten: dict[TrafficKey, RoleCounts] = {}
        self._taken: dict[tuple[str, int, str], RoleCounts] = {}
        self._written: dict[TrafficKey, RoleCounts] = {}

    def of(self, plan: Plan, version: int, role: Role) -> RoleCounts:
        """The counts of this minute, to add to."""
        key = TrafficKey(plan.model, version, role, plan.revision, datetime.now(UTC).replace(second=0, microsecond=0))
        return self._counts.setdefault(key, RoleCounts())

    def take(self) -> dict[TrafficKey, RoleCounts]:
        """The counts since the last call, and those that were put back."""
        fresh, self._counts = self._counts, {}
        _add(self._taken, _without_minute(fresh))
        taken, self._unwritten = self._unwritten, {}
        _add(taken, fresh)
        return taken

    def totals(self) -> dict[tuple[str, int, str], RoleCounts]:
        """All counts since the start, by model, version and role."""
        found: dict[tuple[str, int, str], RoleCounts] = {}
        for part in (self._taken, _without_minute(self._counts)):
            _add(found, part)
        return found

    def put_back(self, taken: Mapping[TrafficKey, RoleCounts]) -> None:
        """Takes back counts that could not be written."""
        _add(self._unwritten, taken)

    def write(self, taken: Mapping[TrafficKey, RoleCounts]) -> None:
        """Adds counts to this router's rows, in one transaction."""
        rows = _rows()
        from django.db import transaction

        sums: dict[TrafficKey, RoleCounts] = {}
        for key, counts in taken.items():
            sums[key] = RoleCounts()
            sums[key].add(self._written.get(key, RoleCounts()))
            sums[key].add(counts)
        with transaction.atomic():
            for key, total in sums.items():
                columns = {name: getattr(total, name) for name in SUMMED}
                latencies = {str(bucket): count for bucket, count in total.latencies.buckets.items()}
                rows.update_or_create(router=self._router, **key.__dict__, defaults={**columns, "latencies": latencies})
        self._written |= sums
        # Counts are for the current minute; an hour allows for a clock that is set back.
        oldest = max(key.minute for key in sums) - KEPT_IN_MEMORY
        self._written = {key: total for key, total in self._written.items() if key.minute >= oldest}


def read(model: str, *, since: datetime, revision: int | None = None) -> dict[tuple[int, str], RoleCounts]:
    """The counts of all routers by (version, role), from the minute of `since` on.

    Args:
        revision: of the plan; None: of all.
    """
    rows = _rows().filter(model=model, minute__gte=since.replace(second=0, microsecond=0))
    return _by_role(rows if revision is None else rows.filter(revision=revision))


def compared(model: str, version: int, *, since: datetime) -> RoleCounts:
    """`compared`, `disagreed` and `agreement` of the copies to a version, of all routers.

    The database adds them up: seven days of a shadow are ten thousand rows and more for each router.
    """
    rows = _rows().filter(model=model, version=version, role="shadow", minute__gte=since)
    from django.db.models import Sum

    sums = rows.aggregate(*(Sum(name) for name in COMPARED))
    compared, disagreed, agreement = (sums[f"{name}__sum"] or 0 for name in COMPARED)
    return RoleCounts(compared=compared, disagreed=disagreed, agreement=agreement)


class StepCounts:
    """The counts of a plan's step, for many looks: it reads past minutes once and keeps them.

    A router that could not reach the database writes its minutes late. So the kept counts are compared with the
    database's sums every minute.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._kept: dict[tuple[int, str], RoleCounts] = {}
        self._until = plan.since.replace(second=0, microsecond=0)
        self._checked = time.monotonic()

    def read(self) -> dict[tuple[int, str], RoleCounts]:
        """By version and role, as `read`."""
        if time.monotonic() - self._checked > CHECKED_EVERY_S:
            self._check()
        until = datetime.now(UTC).replace(second=0, microsecond=0) - SETTLED
        if until > self._until:
            _add(self._kept, _by_role(self._of_step().filter(minute__gte=self._until, minute__lt=until)))
            self._until = until
        found = _by_role(self._of_step().filter(minute__gte=self._until))
        _add(found, self._kept)
        return found

    def _check(self) -> None:
        from django.db.models import Sum

        self._checked = time.monotonic()
        rows = self._of_step().filter(minute__lt=self._until)
        names = ("calls", "errors", "refused")
        sums = rows.values("version", "role").annotate(*(Sum(name) for name in names))
        there = {(row["version"], row["role"]): tuple(row[f"{name}__sum"] for name in names) for row in sums}
        if there != {key: (c.calls, c.errors, c.refused) for key, c in self._kept.items()}:
            self._kept, self._until = {}, self._plan.since.replace(second=0, microsecond=0)

    def _of_step(self) -> QuerySet[Row]:
        since = self._plan.since.replace(second=0, microsecond=0)
        return _rows().filter(model=self._plan.model, revision=self._plan.revision, minute__gte=since)


def _rows() -> QuerySet[Row]:
    database.setup()
    from serving.releases.models import Traffic as Row

    return Row.objects.all()


def _without_minute(counts: Mapping[TrafficKey, RoleCounts]) -> dict[tuple[str, int, str], RoleCounts]:
    found: dict[tuple[str, int, str], RoleCounts] = {}
    for key, one in counts.items():
        found.setdefault((key.model, key.version, key.role), RoleCounts()).add(one)
    return found


def _add(to: dict[K, RoleCounts], more: Mapping[K, RoleCounts]) -> None:
    for key, counts in more.items():
        to.setdefault(key, RoleCounts()).add(counts)


def _by_role(rows: Iterable[Row]) -> dict[tuple[int, str], RoleCounts]:
    found: dict[tuple[int, str], RoleCounts] = {}
    for row in rows:
        found.setdefault((row.version, row.role), RoleCounts()).add(counts_of(row))
    return found


def counts_of(row: Row) -> RoleCounts:
    latencies = Latencies(Counter({int(bucket): count for bucket, count in row.latencies.items()}))
    return RoleCounts(**{name: getattr(row, name) for name in SUMMED}, latencies=latencies)


def forget_old() -> None:
    """Deletes rows that are older than KEPT_DAYS."""
    _rows().filter(minute__lt=datetime.now(UTC) - timedelta(days=KEPT_DAYS)).delete()
