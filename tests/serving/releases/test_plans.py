"""Release plans: shares, stickiness, roles, and what is refused."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from scipy.stats import binom

from registry.core.errors import BadInput
from serving.releases.plans import Limits, Plan, choose

CANARY = Plan("m", "canary", live=1, second=2, share=10, sticky="caller")
CALLERS = [f"caller-{n}" for n in range(20_000)]


@pytest.mark.parametrize("share", [1, 10, 50, 99])
@pytest.mark.parametrize("kind", ["canary", "ab"])
def test_the_share_is_within_binomial_bounds(kind: Any, share: int) -> None:
    plan = replace(CANARY, kind=kind, share=share)
    hits = sum(choose(plan, caller).version == 2 for caller in CALLERS)
    low, high = binom.ppf([0.0005, 0.9995], len(CALLERS), share / 100)
    assert low <= hits <= high


def test_a_caller_in_the_canary_stays_in_it_when_the_share_grows() -> None:
    shares = (1, 10, 50, 99)
    members = [{c for c in CALLERS if choose(replace(CANARY, share=s), c).role == "canary"} for s in shares]
    for smaller, larger in itertools.pairwise(members):
        assert smaller < larger


def test_another_second_version_has_other_first_callers() -> None:
    first, second = ({c for c in CALLERS if choose(replace(CANARY, second=n), c).role == "canary"} for n in (2, 3))
    low, high = binom.ppf([0.0005, 0.9995], len(CALLERS), 0.01)  # 10 % of 10 %, as chance has it
    assert low <= len(first & second) <= high


@pytest.mark.parametrize(
    ("kind", "roles"),
    [
        ("all", {(1, "live", None)}),
        ("shadow", {(1, "live", 2)}),
        ("canary", {(1, "live", None), (2, "canary", None)}),
        ("ab", {(1, "a", None), (2, "b", None)}),
    ],
)
def test_roles_of_each_kind(kind: Any, roles: set[tuple[int, str, int | None]]) -> None:
    plan = replace(CANARY, kind=kind, share=50, second=None if kind == "all" else 2)
    found = Counter((one.version, one.role, one.copy_to) for one in (choose(plan, c) for c in CALLERS[:500]))
    assert set(found) == roles
    assert {(version, role) for role, version in plan.roles().items()} >= {(v, r) for v, r, _ in roles}


def test_a_canary_goes_through_its_steps() -> None:
    plan = replace(CANARY, steps=(10, 50, 100))
    assert [replace(plan, share=share).next_step for share in (5, 10, 50)] == [10, 50, 100]
    assert replace(plan, steps=()).next_step is None
    assert replace(plan, kind="ab").next_step is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"share": 0}, "the share is 0 %"),
        ({"share": 100}, "the share is 100 %"),
        ({"kind": "ab", "share": -3}, "the share is -3 %"),
        ({"kind": "rainbow"}, "is not a release plan"),
        ({"sticky": "moon"}, "sticky is 'moon'"),
        ({"second": 1}, "is live already"),
        ({"second": None}, "has no second version"),
        ({"kind": "all"}, "has a second version"),
        ({"steps": (50, 10)}, "the steps are 50, 10"),
        ({"steps": (10, 110)}, "the steps are 10, 110"),
    ],
)
def test_impossible_plans_are_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        replace(CANARY, **change)


def test_limits_come_from_text_and_bad_ones_are_named() -> None:
    found = Limits.of({"min_calls": "20", "latency_ratio": "2.5"})
    assert (found.min_calls, found.latency_ratio, found.alpha) == (20, 2.5, Limits().alpha)
    assert Limits.of(found.to_json()) == found
    for given, says in (({"speed": 1}, "no limit 'speed'"), ({"drift": "x"}, "'x'"), ({"drift": 2}, "drift is 2")):
        with pytest.raises(BadInput, match=says):
            Limits.of(given)
