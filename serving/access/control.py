"""Keys, quotas and usage of one router, and the threads that keep them up to date."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from registry.core import database
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
class AdmittedRequest:
    """A request that was let through.

    Attributes:
        caller: `vl_<id>`, or the address of a caller without a key.
        api_key: None without a key.
        quota: None where there is no limit.
    """

    caller: str
    api_key: ApiKey | None
    quota: QuotaState | None

    @property
    def key_id(self) -> str:
        """The key's id; "" without a key."""
        return self.api_key.id if self.api_key else ""

    @property
    def tasks_of(self) -> str | None:
        """The caller whose tasks it may see; None for everybody's.

        Where no keys are required, a task's id is the only secret.
        """
        everybodys = self.api_key is None or self.api_key.may("admin") or not settings().keys_required
        return None if everybodys else self.caller


class NoQuota(OverQuota):
    """An OverQuota with the state of the quota and the key's id ("" without a key)."""

    def __init__(self, quota: QuotaState, key_id: str = "") -> None:
        super().__init__(
            f"the quota of {quota.limit:,} requests a {quota.period} is used up",
            expected="requests within the quota",
            fix=f"try again in {quota.reset_s} s, or ask for a larger quota",
        )
        self.retry_after_s = max(quota.reset_s, 1)
        self.quota = quota
        self.key_id = key_id

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
        self._failing: set[str] = set()

    def start(self) -> None:
        """Reads the keys and begins to poll. The threads wait for a database that is away."""
        # Two threads: a flush that waits for the database must not delay the revocation of a key.
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

    def admit(self, need: Requirement, token: str | None, address: str) -> AdmittedRequest:
        """Lets a request through.

        Raises:
            Unauthorized: no key where one is required, or one that is not valid.
            Forbidden: the key is for other models or actions.
            NoQuota: the quota is used up.
            MissingService: the keys could not be read yet.
        """
        if token is None:
            return self._anonymous(need, address)
        api_key = self._keyring.find(token)
        permit(api_key, need)
        return AdmittedRequest(api_key.caller, api_key, None if need.free else self._spend(api_key))

    def count(self, key_id: str, model: str, counts: UsageCounts) -> None:
        self.meter.count(key_id, model, datetime.now(UTC), counts)

    def _anonymous(self, need: Requirement, address: str) -> AdmittedRequest:
        if settings().keys_required:
            raise Unauthorized(
                "the request has no key",
                expected="`Authorization: Bearer vl_...`, or `X-API-Key: vl_...`",
                fix="ask whoever runs this for a key",
            )
        if need.free:
            return AdmittedRequest(address, None, None)
        quota = self._windows.take(address, settings().anonymous_per_minute, time.monotonic())
        if quota is not None and not quota.allowed:
            raise NoQuota(quota)
        return AdmittedRequest(address, None, quota)

    def _spend(self, api_key: ApiKey) -> QuotaState | None:
        """Takes one request from a key's quotas; returns the tighter of the two."""
        per_minute, per_month = limits_of(api_key)
        month = _month(per_month, self.meter, api_key.id) if per_month else None
        if month is not None and not month.allowed:
            raise NoQuota(month, api_key.id)
        minute = self._windows.take(api_key.id, per_minute, time.monotonic())
        if minute is not None and not minute.allowed:
            raise NoQuota(minute, api_key.id)
        return min((one for one in (minute, month) if one), key=lambda one: one.remaining, default=None)

    def _follow_keys(self, first: threading.Event) -> None:
        while not self._stop.is_set():
            self._try("keys", self._keyring.refresh)
            first.set()
            self._stop.wait(KEYS_EVERY_S)
        database.close_connection()

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
        database.close_connection()

    def _try(self, name: str, task: Callable[[], None]) -> None:
        try:
            task()
        except Exception as error:  # whatever the database does, the thread lives and tries again
            if name not in self._failing:
                away = database.is_away(error)
                why = "the database is away" if away else "an error"
                logger.warning("%s, %s stay as they are: %s", why, name, error, exc_info=not away)
                self._failing.add(name)
            database.close_connection()
        else:
            if name in self._failing:
                self._failing.discard(name)
                logger.warning("%s are up to date again", name)


def limits_of(api_key: ApiKey) -> tuple[int, int]:
    """Requests a minute and a month that a key may make; 0: no limit."""
    config = settings()
    return (
        config.quota_per_minute if api_key.per_minute is None else api_key.per_minute,
        config.quota_per_month if api_key.per_month is None else api_key.per_month,
    )


def permit(api_key: ApiKey, need: Requirement) -> None:
    """Raises Forbidden where a key does not allow what a request needs."""
    if need.action and not api_key.may(need.action):
        raise _forbidden(api_key, f"the action {need.action}", api_key.actions)
    if need.model and not api_key.reaches(need.model):
        raise _forbidden(api_key, f"the model {need.model}", api_key.models)


def _forbidden(api_key: ApiKey, what: str, has: frozenset[str]) -> Forbidden:
    return Forbidden(
        f"the key {api_key.caller} is for {', '.join(sorted(has))} only",
        expected=f"a key for {what}",
        fix="ask whoever runs this for one",
    )


def _month(limit: int, meter: Meter, key_id: str) -> QuotaState:
    now = datetime.now(UTC)
    used = meter.month(key_id, now)
    after = (now.replace(day=1) + timedelta(days=32)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    reset = math.ceil((after - now).total_seconds())
    return QuotaState(limit, max(limit - used - 1, 0), reset, used < limit, "month")
