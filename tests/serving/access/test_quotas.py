"""The sliding window, against the definition: never more than the limit in any 60 s."""

from __future__ import annotations

import gc
import random

import pytest

from serving.access.quotas import Window, Windows


@pytest.mark.parametrize(("limit", "per_s"), [(1, 0.5), (10, 1.0), (60, 3.0)])
def test_never_more_than_the_limit_in_any_minute(limit: int, per_s: float) -> None:
    rng, window, now = random.Random(limit), Window(), 1000.0
    allowed: list[float] = []
    for _ in range(2000):
        now += rng.expovariate(per_s)
        if window.take(limit, now).allowed:
            allowed.append(now)
    most = max(sum(1 for other in allowed if 0 <= other - at < 60) for at in allowed)
    assert most == limit  # not more; and not less, or it would be stricter than it says


def test_says_when_there_is_more() -> None:
    window, now = Window(), 500.25
    first = [window.take(3, now + 5 * n) for n in range(3)]
    assert [one.remaining for one in first] == [2, 1, 0]
    refused = window.take(3, now + 11)
    assert (refused.allowed, refused.remaining) == (False, 0)
    assert not window.take(3, now + 11 + refused.reset_s - 1.01).allowed
    assert window.take(3, now + 11 + refused.reset_s).allowed


def remembered() -> int:
    gc.collect()
    return sum(type(one) is Window for one in gc.get_objects())


def test_no_limit_takes_no_memory_and_idle_callers_are_forgotten() -> None:
    windows, before = Windows(), remembered()
    assert windows.take("someone", 0, 0.0) is None
    for n in range(windows.TIDY_EVERY):
        windows.take(f"caller {n}", 10, 100.0)
    assert remembered() - before > windows.TIDY_EVERY / 2
    for _ in range(windows.TIDY_EVERY):
        windows.take("the last one", 10, 1000.0)
    assert remembered() - before == 1
