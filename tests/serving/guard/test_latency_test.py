"""Latency by moments: what is slower is found, and a machine that is busy at times condemns nobody."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from serving.guard import latency_test
from serving.guard.guardrails import Guardrails
from serving.guard.latency_test import MIN_MOMENTS, LatencyTest, is_slower
from serving.router.traffic import RoleCounts
from tests.serving.counted import canary_plan, latencies, wrote

RATIO = 1.5


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency_test, "MOMENT_S", 0.0)


@pytest.mark.parametrize(
    ("new", "old", "slower"),
    [
        ([10] * 50, [10] * 50, False),
        ([16] * 50, [10] * 50, True),
        ([14] * 50, [10] * 50, False),
        ([10] * 45 + [99] * 5, [10] * 50, True),
        ([10] * 49 + [99], [10] * 400 + [99] * 20, False),
        ([99], [10], True),
        ([10], [99], False),
        ([40] * 5, [10] * 45, True),
        ([40] * 6, [10] * 4, True),
        ([40] * 99, [10], True),
    ],
)
def test_a_moment_counts_against_who_has_the_slowest_calls(new: list[float], old: list[float], slower: bool) -> None:
    assert is_slower(latencies(*new), latencies(*old), RATIO) == slower


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_harmless_version_is_the_slower_one_in_half_of_the_moments_at_most(share: float) -> None:
    """Each moment has a pace of its own, a heavy tail and ever so few calls; ratio 1, the strictest."""
    random = np.random.default_rng(7)
    slower = 0
    for _ in range(1000):
        pace, calls = random.lognormal(2, 1), random.integers(2, 60)
        ms = pace * random.pareto(1.5, calls)
        new = max(1, min(int(calls) - 1, round(share * calls)))
        slower += is_slower(latencies(*ms[:new]), latencies(*ms[new:]), 1.0)
    assert slower <= 530  # two standard deviations above a half


def test_a_moment_waits_until_both_versions_have_had_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = LatencyTest(RATIO)
    assert not watched.look(latencies(10), latencies())
    assert watched.look(latencies(10), latencies(10))
    assert not watched.look(latencies(10, 10), latencies(10)), "each call is of one moment only"
    monkeypatch.setattr(latency_test, "MOMENT_S", 60.0)
    assert not watched.look(latencies(10, 10), latencies(10, 10))
    assert watched.count == 1


def _broken_after(of: dict[str, list[list[float]]]) -> int | None:
    """After how many moments the guardrail breaks, with these milliseconds in each; None: it holds."""
    plan = canary_plan()
    watched = Guardrails(plan)
    for number in range(len(of["canary"])):
        for role, version in (("live", 1), ("canary", 2)):
            wrote(plan, version, role, RoleCounts(len(of[role][number]), latencies=latencies(*of[role][number])))
        said = {reason.rule: reason for reason in watched.look()}["latency"]
        assert f"of {number + 1} moments" in said.found or number >= MIN_MOMENTS  # later it is not due each time
        if not said.passed:
            return number + 1
    return None


def test_a_slow_version_breaks_the_rail_as_soon_as_it_is_judged(project: Path) -> None:
    assert _broken_after({"live": [[10.0] * 9] * 12, "canary": [[20.0]] * 12}) == MIN_MOMENTS


def test_one_bad_moment_breaks_no_rail_however_many_calls_it_held_up(project: Path) -> None:
    """By calls it would: most of all were far slower than any of the live version's."""
    calm, stalled = [10.0] * 5, [900.0] * 100
    assert _broken_after({"live": [[10.0] * 9] * 20, "canary": [stalled, *[calm] * 19]}) is None


def test_slower_in_every_moment_but_not_in_sum_breaks_no_guardrail(project: Path) -> None:
    """The live version has stalled for long while the new version was away."""
    live = [[900.0] * 50, *[[10.0]] * 19]
    assert _broken_after({"live": live, "canary": [[20.0]] * 20}) is None


def test_what_is_not_judged_yet_is_said_to_be(project: Path) -> None:
    plan = canary_plan()
    wrote(plan, 1, "live", RoleCounts(9, latencies=latencies(*[10.0] * 9)))
    wrote(plan, 2, "canary", RoleCounts(1, latencies=latencies(10.0)))
    (said,) = (reason for reason in Guardrails(plan).look() if reason.rule == "latency")
    assert said.passed
    assert "judged after 8 moments" in said.expected
