"""Counts of requests: added up once, whatever becomes of a write."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, transaction

from serving.releases.plans import Plan
from serving.router import traffic
from serving.router.traffic import Latencies, RoleCounts, TrafficCounter, TrafficKey
from tests.bundles import MODEL
from tests.serving.counted import latencies

MINUTE = datetime.now(UTC).replace(second=0, microsecond=0)
KEY = TrafficKey(MODEL, 1, "live", 7, MINUTE)

pytestmark = pytest.mark.usefixtures("database")


def _three() -> RoleCounts:
    found = RoleCounts(3, 1)
    for ms in (10, 20):
        found.latencies.add(ms)
    return found


def _calls() -> tuple[int, int, int]:
    """Calls, errors and latencies of all routers."""
    since = MINUTE - timedelta(days=1)
    found = traffic.read(MODEL, since=since, revision=KEY.revision).get((1, "live"), RoleCounts())
    return found.calls, found.errors, found.latencies.count


def test_writes_of_a_minute_add_up_over_routers() -> None:
    for router in (TrafficCounter(), TrafficCounter()):
        for _ in range(2):
            router.write({KEY: _three()})
    assert _calls() == (12, 4, 8)


@pytest.mark.parametrize("later", [timedelta(0), timedelta(minutes=5), timedelta(hours=-1)])
def test_a_write_whose_commit_was_uncertain_counts_once(monkeypatch: pytest.MonkeyPatch, later: timedelta) -> None:
    router, taken = TrafficCounter(), {KEY: _three()}
    router.write({KEY: _three()})
    with monkeypatch.context() as patch:
        patch.setattr(transaction, "atomic", _lost_in_commit(transaction.atomic))
        with pytest.raises(OperationalError):
            router.write(taken)
    assert _calls() == (6, 2, 4), "it was committed"
    router.put_back(taken)
    router.put_back({replace(KEY, minute=KEY.minute + later): _three()})
    router.write(router.take())
    assert _calls() == (9, 3, 6)


def _lost_in_commit(real: Any) -> Any:
    """As `transaction.atomic`, but the connection is lost when the outermost one has committed."""

    @contextmanager
    def outermost() -> Iterator[None]:
        with real():
            yield
        raise OperationalError("server closed the connection unexpectedly")

    def atomic(*args: Any, **options: Any) -> AbstractContextManager[None]:
        return real(*args, **options) if args or options else outermost()  # type: ignore[no-any-return]

    return atomic


def test_quantiles_of_latencies_are_within_a_bucket() -> None:
    found = latencies(*(10 * (1 + n / 1000) for n in range(1000)))
    assert found.quantile(0.5) == pytest.approx(15, rel=0.06)
    assert found.quantile(0.95) == pytest.approx(19.5, rel=0.06)
    assert math.isnan(Latencies().quantile(0.5))


def test_traffic_that_cannot_be_written_is_not_lost() -> None:
    plan, counted = Plan(MODEL, "canary", 1, 2, share=50, since=MINUTE, revision=KEY.revision), TrafficCounter()
    counted.of(plan, 2, "canary").calls += 3
    taken = counted.take()
    counted.of(plan, 2, "canary").calls += 2
    counted.put_back(taken)
    counted.write(counted.take())
    counted.of(plan, 2, "canary").calls += 1
    counted.write(counted.take())
    assert traffic.read(MODEL, since=plan.since, revision=plan.revision)[2, "canary"].calls == 6


def test_totals_go_on_over_writes_that_fail() -> None:
    router, plan = TrafficCounter(), Plan(MODEL, "all", live=1)
    totals = []
    for attempt in range(4):
        router.of(plan, 1, "live").answered(200, 10.0)
        totals.append(router.totals()[MODEL, 1, "live"].calls)
        taken = router.take()
        totals.append(router.totals()[MODEL, 1, "live"].calls)
        if attempt < 3:
            router.put_back(taken)
    assert totals == [1, 1, 2, 2, 3, 3, 4, 4]
    assert sum(one.calls for one in taken.values()) == 4, "what was put back is written with the next"
    assert router.totals()[MODEL, 1, "live"].classes == [0, 0, 4, 0, 0, 0]
