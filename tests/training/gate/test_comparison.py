"""What may be chance, and what may not: a metric that is a mean, and the metrics of all models."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from registry.contract import catalog
from registry.contract.spec import Budget, Metric, ModelSpec
from registry.versions.decision import ENOUGH
from tests.training.equal_versions import answers, draw, promoted
from training.gate import rules as gate_rules
from training.gate.comparison import OVERALL, Comparison
from training.workspace.intervals import resamples_of

MEAN = cast(
    ModelSpec,
    SimpleNamespace(
        name="mean",
        metric=Metric("mean", "Mean", 0.5),
        budget=Budget(10, 10, metric_loss=0.01),
        score=SimpleNamespace(score=lambda results, truths: float(np.mean(results)), positive=lambda truth: True),
    ),
)


def compare(differences: Any, rounds: int = 1000, **members: list[int]) -> Comparison:
    """Of cases that differ by so much."""
    differences = np.asarray(differences, float)
    cut = {OVERALL: list(range(len(differences))), **members}
    return Comparison(MEAN, list(0.5 + differences), [0.5] * len(differences), [None] * len(differences), cut, rounds)


@pytest.mark.parametrize("cases", [1, 2, 5])
def test_a_handful_of_cases_says_nothing_however_clear(cases: int) -> None:
    """The bootstrap interval of one case has no width, and of equal versions every second one wins on it."""
    compared = compare([0.3] * cases)
    assert compared.difference(OVERALL).low > 0
    assert not compared.better(OVERALL)
    rule = gate_rules.better(MEAN, compared, "all", "")
    assert not rule.passed
    assert str(ENOUGH) in rule.expected
    assert not compare([-0.3] * cases).lost(OVERALL, 0.01)


def test_the_least_number_of_cases_can_say_something() -> None:
    assert compare([0.3] * ENOUGH).better(OVERALL)
    assert compare([-0.3] * ENOUGH).lost(OVERALL, 0.01)
    assert compare([0.3] * ENOUGH).chance(OVERALL, "better") == 2**-ENOUGH


def test_chance_is_the_share_of_swaps_that_do_as_well() -> None:
    """Of four cases that won and none that lost, the interval is above 0 and the win is chance once in 16 times."""
    compared = compare([0.1] * 4 + [0.0] * 16)
    assert compared.chance(OVERALL, "better") == pytest.approx(1 / 16, abs=0.03)
    assert not compared.better(OVERALL)


def test_on_all_cases_the_interval_decides_and_not_the_figure() -> None:
    rng = np.random.default_rng(0)
    wide, narrow = rng.normal(0.0, 0.1, 40), rng.normal(0.0, 0.002, 40)
    assert not gate_rules.not_worse(MEAN, compare(wide - wide.mean())).passed
    assert gate_rules.not_worse(MEAN, compare(narrow - narrow.mean())).passed
    assert not gate_rules.not_worse(MEAN, compare(narrow - narrow.mean() - 0.011)).passed


@pytest.mark.parametrize(
    ("lost", "spread", "cases", "passed"),
    [
        (0.05, 0.3, 24, True),  # may be chance
        (0.05, 0.01, 24, False),
        (0.009, 0.001, 24, True),  # sure, but within the budget
        (0.02, 0.01, 400, False),
        (0.3, 0.0, ENOUGH - 1, True),  # too few to be judged, and named
    ],
)
def test_a_slice_loses_beyond_chance(lost: float, spread: float, cases: int, passed: bool) -> None:
    noise = np.random.default_rng(1).normal(0, 1, cases)
    noise = spread * (noise - noise.mean())
    compared = compare(
        np.concatenate([np.full(50, 0.2), noise - lost]), **{"view=several": list(range(50, 50 + cases))}
    )
    rule = gate_rules.no_slice_lost(MEAN, compared)
    assert rule.passed is passed, rule
    assert "view=several" in rule.found


def test_many_small_losses_in_a_row_do_not_add_up() -> None:
    """Ten retrainings, each a little worse than the one before it, each within what one may lose."""
    noise = np.random.default_rng(2).normal(0, 0.01, 60)
    noise -= noise.mean()
    step = 0.004
    refused = [
        number
        for number in range(1, 11)
        if gate_rules.not_worse(MEAN, compare(noise - step)).passed
        and not gate_rules.not_worn_down(MEAN, {OVERALL: (1, compare(noise - number * step))}, [])[0].passed
    ]
    assert refused
    assert refused == list(range(refused[0], 11))
    assert refused[0] * step <= 2 * MEAN.budget.metric_loss


PATIENTS, EACH = 12, 10


def of_patients(seed: int, spread: float = 0.1, within: float = 0.01) -> Any:
    """How much better the one of two equal versions is on each case: nearly as much on all cases of a patient."""
    rng = np.random.default_rng(seed)
    return np.repeat(rng.normal(0, spread, PATIENTS), EACH) + rng.normal(0, within, PATIENTS * EACH)


def patients(compared: Comparison) -> Comparison:
    return replace(compared, groups=[f"patient {n // EACH}" for n in range(PATIENTS * EACH)])


def test_cases_of_few_patients_say_less_than_as_many_of_as_many() -> None:
    alone = compare(of_patients(0))
    together = patients(alone)
    one, other = (found.difference(OVERALL) for found in (together, alone))
    assert one.value == other.value
    # Of ten cases that say the same, one counts: the interval is about sqrt(10) times as wide.
    assert 2.5 < (one.high - one.low) / (other.high - other.low) < 4
    assert (together.witnesses(OVERALL), alone.witnesses(OVERALL)) == (PATIENTS, PATIENTS * EACH)


def test_of_equal_versions_hardly_any_is_promoted_where_cases_are_of_few_patients() -> None:
    def lucky(compared: Comparison) -> bool:
        rules = gate_rules.better(MEAN, compared, None, ""), gate_rules.not_worse(MEAN, compared)
        return all(rule.passed for rule in rules)

    pairs = [compare(of_patients(seed), rounds=200) for seed in range(200)]
    assert sum(lucky(patients(one)) for one in pairs) <= 10
    assert sum(lucky(one) for one in pairs) > 40, "where each case is a witness, a quarter of them is let in"


def test_a_clear_win_on_every_patient_is_seen_and_of_five_patients_nothing_is() -> None:
    won = patients(compare(of_patients(1, spread=0.01) + 0.1))
    assert won.better(OVERALL)
    assert patients(compare(of_patients(1, spread=0.01) - 0.1)).lost(OVERALL, 0.01)
    few = replace(won, groups=[f"patient {n % 5}" for n in range(PATIENTS * EACH)])
    assert not few.better(OVERALL)
    rule = gate_rules.better(MEAN, few, None, "")
    assert rule.found == "5 groups of test cases of it"
    slices = replace(won, members={**won.members, "view=one": list(range(5 * EACH))})
    assert "fewer than 6 groups of test cases: view=one (5)" in gate_rules.no_slice_lost(MEAN, slices).found


def test_a_case_without_a_group_stands_alone() -> None:
    found = np.random.default_rng(5).normal(0, 0.1, 40)
    none, alone = compare(found), replace(compare(found), groups=[f"own {n}" for n in range(40)])
    assert none.difference(OVERALL) == alone.difference(OVERALL)
    assert none.chance(OVERALL, "better") == alone.chance(OVERALL, "better")
    assert replace(none, groups=["a", "a", *[""] * 38]).witnesses(OVERALL) == 39


def test_of_equal_versions_hardly_any_is_promoted() -> None:
    """The small form of `tests/benchmarks/test_luck.py`, which has 200 for each metric."""
    often = {model: 10 if model == "object_detection" else 25 for model in catalog.names()}  # its metric takes long
    lucky = {model: sum(promoted(model, 30, seed, 100) for seed in range(count)) for model, count in often.items()}
    assert sum(lucky.values()) <= 0.05 * sum(often.values()), lucky


@pytest.mark.parametrize("model", catalog.names())
def test_what_is_really_better_is_seen(model: str) -> None:
    """The simulated versions are not so coarse that nothing could win: one that is always right does."""
    truths, _, theirs = draw(model, 40, np.random.default_rng(3))
    spec = catalog.get(model)
    perfect = answers(model, truths, [0.0] * 40, np.random.default_rng(4))
    compared = Comparison(spec, perfect, theirs, truths, {OVERALL: list(range(40))}, 100)
    assert compared.better(OVERALL)
    low = compared.difference(OVERALL).low
    each = [
        spec.score.score([perfect[i] for i in rows], [truths[i] for i in rows])
        - spec.score.score([theirs[i] for i in rows], [truths[i] for i in rows])
        for rows in resamples_of(spec, truths, 100)
    ]
    assert low == pytest.approx(np.quantile(each, 0.025))
