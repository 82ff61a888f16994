"""The sequential test holds what it promises, whenever one stops; the exact tests agree with SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, fisher_exact

from serving.guard.sequential_tests import (
    ALPHA,
    EFFECT,
    POWER,
    compare,
    evidence_path,
    level_of_look,
    look_at,
    more_errors,
    more_than,
    pairs_needed,
)

RUNS = 400


def _rate_of_decisions(a: float, b: float, rng: np.random.Generator) -> float:
    """Share of comparisons of right-or-wrong scores that are decided at any of their pairs."""
    shape = (pairs_needed(EFFECT),)
    scores = ((rng.random(shape) < b).astype(float) - (rng.random(shape) < a) for _ in range(RUNS))
    return float(np.mean([evidence_path(one).max() >= 1 / ALPHA for one in scores]))


@pytest.mark.parametrize("accuracy", [0.5, 0.9, 0.99])
def test_no_difference_is_seen_where_there_is_none_however_often_one_looks(accuracy: float) -> None:
    rate = _rate_of_decisions(accuracy, accuracy, np.random.default_rng(int(100 * accuracy)))
    assert binomtest(round(rate * RUNS), RUNS, ALPHA, alternative="greater").pvalue > 0.001
    assert rate <= ALPHA


@pytest.mark.parametrize(("a", "b"), [(0.45, 0.55), (0.85, 0.95), (0.6, 0.5)])
def test_a_difference_that_matters_is_found_with_the_stated_power(a: float, b: float) -> None:
    rate = _rate_of_decisions(a, b, np.random.default_rng(1))
    assert rate >= POWER


def test_the_interval_holds_the_difference_and_names_the_winner() -> None:
    rng = np.random.default_rng(3)
    found = compare(rng.random(800) < 0.6, rng.random(800) < 0.8)
    assert found.winner == "b"
    assert found.over
    assert found.low < 0.2 < found.high
    assert found.low > 0
    assert compare(rng.random(800) < 0.8, rng.random(800) < 0.6).winner == "a"


def test_a_comparison_is_decided_where_its_evidence_was() -> None:
    rng = np.random.default_rng(6)
    for b in (0.5, 0.7):
        scores = (rng.random((2, 300)) < [[0.5], [b]]).astype(float)
        path = evidence_path(scores[1] - scores[0])
        assert compare(*scores).evidence == pytest.approx(path.max(initial=1.0))
        assert compare(*scores).decided == (path.max() >= 20)


def test_continuous_scores_are_taken_and_few_decide_nothing() -> None:
    rng = np.random.default_rng(4)
    assert compare(rng.beta(8, 2, 400), rng.beta(9, 1, 400)).winner == "b"
    few = compare([1.0, 1.0], [0.0, 0.0, 0.0])
    assert (few.pairs, few.over, few.winner) == (2, False, "")
    none = compare([], [1.0])
    assert (none.pairs, none.over, none.low, none.high) == (0, False, -1, 1)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        compare([0.5], [1.5])


def test_it_ends_undecided_after_the_stated_number_of_pairs() -> None:
    same = [1.0, 0.0] * pairs_needed(EFFECT)
    found = compare(same, same)
    assert found.over
    assert not found.winner


@pytest.mark.parametrize(("errors", "calls", "others", "other_calls"), [(0, 9, 1, 99), (3, 10, 1, 90), (5, 5, 0, 45)])
def test_fishers_test_agrees_with_scipy(errors: int, calls: int, others: int, other_calls: int) -> None:
    table = [[errors, calls - errors], [others, other_calls - others]]
    expected = fisher_exact(table, alternative="greater").pvalue
    assert more_errors(errors, calls, others, other_calls) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("hits", "trials", "share"), [(0, 10, 0.05), (4, 20, 0.05), (30, 100, 0.2), (1, 3, 0.0)])
def test_the_binomial_test_agrees_with_scipy(hits: int, trials: int, share: float) -> None:
    expected = binomtest(hits, trials, share, alternative="greater").pvalue
    assert more_than(hits, trials, share) == pytest.approx(expected, rel=1e-6)


def test_the_levels_of_all_looks_add_up_to_less_than_alpha() -> None:
    looks = {look_at(calls) for calls in range(1, 10**5)}
    assert looks == set(range(1, max(looks) + 1))
    assert sum(level_of_look(0.01, look) for look in range(1, 1000)) < 0.01


def test_a_harmless_version_seldom_breaks_a_guardrail_however_often_it_is_looked_at() -> None:
    rng, alpha, broken = np.random.default_rng(5), 0.05, 0
    for _ in range(300):
        new, old = (np.cumsum(rng.random(1500) < 0.05) for _ in range(2))
        looked = 0
        for calls in range(1, 1501):
            if look_at(calls) > looked:
                looked = look_at(calls)
                if more_errors(int(new[calls - 1]), calls, int(old[calls - 1]), calls) <= level_of_look(alpha, looked):
                    broken += 1
                    break
    assert broken / 300 <= alpha
