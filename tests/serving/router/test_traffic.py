"""Counts of requests: added up once, whatever becomes of a write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, transaction

from serving.router import traffic
from serving.router.traffic import RoleCounts, TrafficCounter, TrafficKey
from tests.bundles import MODEL

MINUTE = datetime.now(UTC).replace(second=0, microsecond=0)
KEY = TrafficKey(MODEL, 1, "champion", 7 * 10**6, MINUTE)


def _three() -> RoleCounts:
    found = RoleCounts(3, 1)
    for ms in (10, 20):
        found.latencies.add(ms)
    return found


def _calls(revision: int) -> tuple[int, int, int]:
    """Calls, errors and latencies of all routers."""
    found = traffic.read(MODEL, since=MINUTE - timedelta(days=1), revision=revision).get((1, "champion"), RoleCounts())
    return found.calls, found.errors, found.latencies.count


def test_writes_of_a_minute_add_up_over_routers(project: Path) -> None:
    for router in (TrafficCounter(), TrafficCounter()):
        for _ in range(2):
            router.write({KEY: _three()})
    assert _calls(KEY.revision) == (12, 4, 8)


@pytest.mark.parametrize("later", [timedelta(0), timedelta(minutes=5), timedelta(hours=-1)])
def test_a_write_whose_commit_was_uncertain_counts_once(
    project: Path, monkeypatch: pytest.MonkeyPatch, later: timedelta
) -> None:
    key, router = replace(KEY, revision=KEY.revision + 1 + int(later.total_seconds())), TrafficCounter()
    router.write({key: _three()})
    taken = {key: _three()}
    with monkeypatch.context() as patch:
        patch.setattr(transaction, "atomic", _lost_in_commit(transaction.atomic))
        with pytest.raises(OperationalError):
            router.write(taken)
    assert _calls(key.revision) == (6, 2, 4), "it was committed"
    router.put_back(taken)
    router.put_back({replace(key, minute=key.minute + later): _three()})
    router.write(router.take())
    assert _calls(key.revision) == (9, 3, 6)


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
