"""What a router knows of keys, quotas and usage, and the threads that keep it up to date."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from registry.core.errors import Forbidden, OverQuota, Unauthorized
from registry.core.settings import settings
from serving.access.keyring import Keyring
from serving.access.keys import ApiKey
from serving.access.quotas import QuotaState, Windows
from serving.access.rules import Requirement
from serving.access.usage import Meter, UsageCounts

logger = logging.getLogger("visionloop.access")

KEYS_EVERY_S = 0.5
FLUSH_EVERY_S = 1.0
MONTH_EVERY_S = 5.0
ADOPT_EVERY_S = 30.0
JOIN_S = 10.0


@dataclass(frozen=True)
class Admitted:
    """A request that may go on.

    Attributes:
        caller: `vl_<id>`, or the address of a caller without a key.
        grant: None without a key.
        standing: None where there is no limit.
    """

    caller: str
    grant: ApiKey | None
    standing: QuotaState | None

    @property
    def key(self) -> str:
        return self.grant.id if self.grant else ""

    @property
    def tasks_of(self) -> str | None:
        """The caller whose tasks it may look at; None: everyone's, as its id is all that there is to know of a task
        where no keys are required."""
        everyones = self.grant is None or self.grant.may("admin") or not settings().keys_required
        return None if everyones else self.caller


class NoQuota(OverQuota):
    """An OverQuota that knows whose it is (empty: of no key) and when there is some again."""

    def __init__(self, standing: QuotaState, key: str = "") -> None:
        super().__init__(
            f"the quota of {standing.limit:,} requests a {standing.period} is used up",
            expected="requests within the quota",
            fix=f"try again in {standing.reset_s} s, or ask for a larger quota",
        )
        self.standing = standing
        self.key = key

    def to_json(self) -> dict[str, object]:
        return {**super().to_json(), "error": OverQuota.__name__}


class Access:
    """Keys, quotas and usage of one router. `admit` and `count` never touch the database."""

    def __init__(self) -> None:
        self.meter = Meter()
        self._keyring = Keyring()
        self._windows = Windows()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._away: set[str] = set()

    def start(self) -> None:
        """Reads the keys and begins to poll. A missing database is waited for in the background."""
        # Two threads: a flush that waits for the database must not delay the news that a key was revoked.
        tried = {name: threading.Event() for name in ("keys", "usage")}
        self._threads = [
            threading.Thread(target=work, args=(tried[name],), name=name, daemon=True)
            for name, work in (("keys", self._follow_keys), ("usage", self._write_usage))
        ]
        for thread in self._threads:
            thread.start()
        for first in tried.values():
            first.wait(JOIN_S)

    def stop(self) -> None:
        """Writes out the usage."""
        self._stop.set()
        for thread in self._threads:
            thread.join(JOIN_S)

    def admit(self, need: Requirement, token: str | None, address: str) -> Admitted:
        """Lets a request through, or says why not.

        Raises:
            Unauthorized: no key where one is required, or one that is not valid.
            Forbidden: a key for other models or actions.
            NoQuota: more requests than there are.
            MissingService: the keys could not be read yet.
        """
        if token is None:
            return self._anonymous(address)
        grant = self._keyring.find(token)
        _permit(grant, need)
        return Admitted(grant.caller, grant, self._spend(grant))

    def count(self, admitted_key: str, model: str, counts: UsageCounts) -> None:
        self.meter.count(admitted_key, model, datetime.now(UTC), counts)

    def _anonymous(self, address: str) -> Admitted:
        if settings().keys_required:
            raise Unauthorized(
                "the request has no key",
                expected="`Authorization: Bearer vl_...`, or `X-API-Key: vl_...`",
                fix="ask whoever runs this for a key (`visionloop keys create`)",
            )
        standing = self._windows.take(address, settings().anonymous_per_minute, time.monotonic())
        if standing is not None and not standing.allowed:
            raise NoQuota(standing)
        return Admitted(address, None, standing)

    def _spend(self, grant: ApiKey) -> QuotaState | None:
        """One request of a key's quotas; the tighter of the two is the one to tell."""
        config = settings()
        per_minute = config.quota_per_minute if grant.per_minute is None else grant.per_minute
        per_month = config.quota_per_month if grant.per_month is None else grant.per_month
        month = _month(per_month, self.meter, grant.id) if per_month else None
        if month is not None and not month.allowed:
            raise NoQuota(month, grant.id)
        minute = self._windows.take(grant.id, per_minute, time.monotonic())
        if minute is not None and not minute.allowed:
            raise NoQuota(minute, grant.id)
        return min((one for one in (minute, month) if one), key=lambda one: one.remaining, default=None)

    def _follow_keys(self, first: threading.Event) -> None:
        while not self._stop.is_set():
            self._try("keys", self._keyring.refresh)
            first.set()
            self._stop.wait(KEYS_EVERY_S)
        _close_connection()

    def _write_usage(self, first: threading.Event) -> None:
        work: list[tuple[str, float, Callable[[], None]]] = [
            ("usage", FLUSH_EVERY_S, self.meter.flush),
            ("quotas", MONTH_EVERY_S, lambda: self.meter.read_month(datetime.now(UTC))),
            ("left usage", ADOPT_EVERY_S, self.meter.adopt),
        ]
        due = dict.fromkeys((name for name, _, _ in work), 0.0)
        while not self._stop.is_set():
            for name, every, task in work:
                if time.monotonic() >= due[name]:
                    due[name] = time.monotonic() + every
                    self._try(name, task)
            first.set()
            self._stop.wait(FLUSH_EVERY_S / 2)
        self.meter.close()
        _close_connection()

    def _try(self, name: str, task: Callable[[], None]) -> None:
        try:
            task()
        except Exception as error:  # whatever the database does, the thread lives and tries again
            if name not in self._away:
                logger.warning("the database is away, %s stay as they are: %s", name, error)
                self._away.add(name)
            _close_connection()
        else:
            if name in self._away:
                self._away.discard(name)
                logger.warning("the database is back: %s are up to date", name)


def _permit(grant: ApiKey, need: Requirement) -> None:
    if need.action and not grant.may(need.action):
        raise _forbidden(grant, f"the action {need.action}", grant.actions)
    if need.model and not grant.reaches(need.model):
        raise _forbidden(grant, f"the model {need.model}", grant.models)


def _forbidden(grant: ApiKey, what: str, has: frozenset[str]) -> Forbidden:
    return Forbidden(
        f"the key {grant.caller} is for {', '.join(sorted(has))} only",
        expected=f"a key for {what}",
        fix="ask whoever runs this for one",
    )


def _month(limit: int, meter: Meter, key: str) -> QuotaState:
    now = datetime.now(UTC)
    used = meter.month(key, now)
    after = (now.replace(day=1) + timedelta(days=32)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    reset = math.ceil((after - now).total_seconds())
    return QuotaState(limit, max(limit - used - 1, 0), reset, used < limit, "month")


def _close_connection() -> None:
    from django.db import connection

    with suppress(Exception):
        connection.close()
