"""The guardrails of one step of a release plan.

Each is an exact test: a harmless version breaks it in a step with probability `alpha` at most, however often the guard
looks. A test is due whenever there are half as many observations again, and the k-th one has the level alpha /
(k (k + 1)) (serving.guard.sequential_tests). Latency, disagreement and drift must also be beyond the plan's limit.
Observations are calls; of latency they are moments (serving.guard.latency_test).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from registry.versions.decision import Reason
from serving.guard.latency_test import MIN_MOMENTS, MOMENT_S, SLOWEST_SHARE, LatencyTest
from serving.guard.sequential_tests import level_of_look, look_at, more_errors, more_than
from serving.releases import deploy
from serving.releases.plans import Plan
from serving.router import traffic
from serving.router.traffic import RoleCounts

SILENT_S = 120.0
"""How long a version may be not ready. The supervisor restarts it in less."""
HALF_PERCENT = 50
"""Percent. Up to this share the second version has no more work than the live one."""
MIN_ROWS = 30
"""Rows of each version before predictions are compared."""
PAIRS_DAYS = 7
MAX_ROWS = 300


@dataclass(frozen=True)
class Observation:
    """What the routers counted for both versions in this step."""

    live: RoleCounts
    second: RoleCounts


class Guardrails:
    """The guardrails of one revision of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._looks: dict[str, int] = {}
        self._reasons: dict[str, Reason] = {}
        self._answered = time.monotonic()
        self._moments = LatencyTest(plan.limits.latency_ratio)
        self._counts = traffic.StepCounts(plan)
        self.calls = 0
        """Of the second version in this step, at the last look."""

    def look(self) -> list[Reason]:
        """How the guardrails stand that could be tested so far. A broken one has not passed."""
        plan = self._plan
        counts = self._counts.read()
        seen = Observation(*(counts.get((version, role), RoleCounts()) for role, version in plan.roles().items()))
        self.calls = seen.second.calls
        self._check_ready()
        self._when_due("errors", seen.second.calls, lambda level: _errors(plan, seen, level))
        if plan.share <= HALF_PERCENT:
            self._when_due("refusals", seen.second.calls, lambda level: _refusals(seen, level))
        self._latency(seen)
        pairs = _pairs(plan)
        self._when_due("disagreement", pairs.compared, lambda level: _disagreement(plan, pairs, level))
        if plan.kind != "shadow" and seen.second.calls >= MIN_ROWS:
            self._when_due("predictions", seen.second.calls, lambda level: _drift(plan, level))
        return list(self._reasons.values())

    def _when_due(self, name: str, observations: int, test: Callable[[float], Reason | None]) -> None:
        look = look_at(observations)
        if look > self._looks.get(name, 0):
            self._looks[name] = look
            reason = test(level_of_look(self._plan.limits.alpha, look))
            if reason is not None:
                self._reasons[name] = reason

    def _latency(self, seen: Observation) -> None:
        moments, new, old = self._moments, seen.second.latencies, seen.live.latencies
        if not moments.look(new, old):
            return
        if moments.count < MIN_MOMENTS:
            self._reasons["latency"] = _latency(self._plan, seen, moments, 0.0)
        self._when_due(
            "latency", moments.count // MIN_MOMENTS, lambda level: _latency(self._plan, seen, moments, level)
        )

    def _check_ready(self) -> None:
        """A version whose service does not stay up must not go on for ever, its callers served by the live version."""
        plan, now = self._plan, time.monotonic()
        if deploy.second_is_ready(plan):
            self._answered = now
        silent = now - self._answered
        self._reasons["answers"] = Reason(
            "answers",
            silent < SILENT_S,
            "ready" if silent < 1 else f"not ready for {silent:.0f} s",
            f"never without an answer for {SILENT_S:g} s",
        )


def _errors(plan: Plan, seen: Observation, level: float) -> Reason:
    new, old = seen.second, seen.live
    p = more_errors(new.errors, new.calls, old.errors, old.calls) if new.errors else 1.0
    if not old.calls:  # nothing to compare with: then no more than one in a hundred
        p = more_than(new.errors, new.calls, 0.01)
    found = f"{new.errors} of {new.calls} calls failed, the live version's {old.errors} of {old.calls} (p {p:.2g})"
    return Reason("errors", p > level, found, f"no more than the live version's (p above {level:.2g})")


def _refusals(seen: Observation, level: float) -> Reason | None:
    """A version that is too slow for its share answers 429. Under overload a harmless one does so too, but with half of
    the requests or less not more often than the live version."""
    new, old = seen.second, seen.live
    if not old.calls:
        return None
    p = more_errors(new.refused, new.calls, old.refused, old.calls) if new.refused else 1.0
    found = f"{new.refused} of {new.calls} calls got 429, the live version's {old.refused} of {old.calls} (p {p:.2g})"
    return Reason("refusals", p > level, found, f"no more than the live version's (p above {level:.2g})")


def _latency(plan: Plan, seen: Observation, moments: LatencyTest, level: float) -> Reason:
    """Broken where the second version is slower in most moments, and over the whole step."""
    new, old = (one.latencies.quantile(1 - SLOWEST_SHARE) for one in (seen.second, seen.live))
    ratio = plan.limits.latency_ratio
    found = (
        f"95th percentile {new:.0f} ms, the live version's {old:.0f} ms; slower in {moments.slower} of {moments.count} "
        f"moments of {MOMENT_S:g} s (p {moments.p:.2g})"
    )
    above = f"p above {level:.2g}" if level else f"judged after {MIN_MOMENTS} moments"
    passed = moments.p > level or new <= ratio * old
    return Reason("latency", passed, found, f"at most {ratio:g} times the live version's ({above})")


def _pairs(plan: Plan) -> RoleCounts:
    """Answers of both versions to the same inputs, from this plan's shadow or an earlier one."""
    since = datetime.now(UTC) - timedelta(days=PAIRS_DAYS)
    return traffic.compared(plan.model, plan.both()[1], since=since)


def _disagreement(plan: Plan, pairs: RoleCounts, level: float) -> Reason:
    p = more_than(pairs.disagreed, pairs.compared, plan.limits.disagreement)
    found = (
        f"{pairs.disagreed} of {pairs.compared} answers differ, mean agreement "
        f"{pairs.agreement / pairs.compared:.3f} (p {p:.2g})"
    )
    expected = f"at most {100 * plan.limits.disagreement:g} % (p above {level:.2g})"
    return Reason("disagreement", p > level, found, expected)


def _drift(plan: Plan, level: float) -> Reason | None:
    """Both versions' prediction statistics in this step, by the monitor's permutation test."""
    from monitoring.drift import findings, statistics, tables

    since = plan.since.timestamp()
    old, new = (tables.read_window(plan.model, version, last=MAX_ROWS, since=since).table for version in plan.both())
    if min(len(old), len(new)) < MIN_ROWS:
        return None
    test = statistics.compare_columns(old, new, findings.PREDICTION, level, matters=plan.limits.drift)
    if test is None or math.isnan(test.statistic):
        return None
    worst = max(test.columns, key=lambda column: column.distance)
    name = worst.name.removeprefix(findings.PREDICTION)
    tested = f"; p {test.p:.2g}" if test.statistic > plan.limits.drift else ""
    return Reason(
        "predictions",
        test.p > level or test.statistic <= plan.limits.drift,
        f"distributions are {test.statistic:.2f} apart ({name}; median {worst.window[1]:.3g}, the live version's "
        f"{worst.reference[1]:.3g}{tested})",
        f"at most {plan.limits.drift:g} (Kolmogorov-Smirnov), or a p above {level:.2g}",
    )
