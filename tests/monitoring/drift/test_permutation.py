"""Permutation tests are valid, flat in memory at any level, quick where nothing differs, and invent no values."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from monitoring.drift import findings, permutation, statistics
from monitoring.drift.permutation import Energy, LargestKS, MeanLoss
from tests.monitoring.drift.test_statistics import table


def columns(rng: np.random.Generator, rows: int, count: int = 7, shift: float = 0.0) -> np.ndarray:
    return rng.normal(size=(rows, count)) + shift


def test_a_test_at_the_guards_smallest_level_takes_a_few_megabytes() -> None:
    """All permutations at once took 160 MB here, and 2.4 GB with the 300 rows of each that the guard compares."""
    rng = np.random.default_rng(0)
    reference, window = table(rng, 60), table(rng, 60, answers=1.5)
    tracemalloc.start()
    found = statistics.compare_columns(reference, window, findings.PREDICTION, 0.01 / 420)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found is not None
    assert found.drifted
    assert peak < 20e6, f"{peak / 1e6:.0f} MB"


@pytest.mark.parametrize("kind", [LargestKS, Energy])
def test_a_verdict_of_the_largest_tables_takes_a_few_megabytes(kind: type) -> None:
    rng = np.random.default_rng(1)
    statistic = kind(columns(rng, 500, 20), columns(rng, 500, 20))
    tracemalloc.start()
    permutation.permutation_test(statistic, 0.01, 2000, rng)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40e6, f"{peak / 1e6:.0f} MB"


def test_tables_that_do_not_differ_cost_few_deals_at_any_level() -> None:
    rng = np.random.default_rng(2)
    for _ in range(5):
        found = permutation.sequential_test(LargestKS(columns(rng, 200), columns(rng, 200)), 1e-6, rng)
        assert found.permutations < 20_000
        assert found.p > 1e-3


def test_the_quick_p_value_is_valid() -> None:
    """Under no difference p is at most 0.05 in 5 % of cases, whether or not the test stops early."""
    rng, alarms = np.random.default_rng(3), 0
    for _ in range(400):
        alarms += permutation.sequential_test(LargestKS(columns(rng, 20), columns(rng, 15)), 0.05, rng).p <= 0.05
    assert 6 <= alarms <= 34  # 20 expected; both ends lie beyond 3 standard deviations


def test_quick_and_whole_agree_on_what_differs() -> None:
    rng = np.random.default_rng(4)
    for shift in (0.0, 0.3, 0.6, 0.9):
        statistic = LargestKS(columns(rng, 40), columns(rng, 30, shift=shift))
        whole = permutation.permutation_test(statistic, 0.01, 1999, np.random.default_rng(5))
        quick = permutation.sequential_test(statistic, 0.01, np.random.default_rng(6))
        assert quick.statistic == whole.statistic
        assert (quick.p <= 0.01) == (quick.statistic > quick.threshold)
        if abs(whole.p - 0.01) > 0.005:
            assert (quick.p <= 0.01) == (whole.p <= 0.01)


def test_the_distances_are_those_of_the_textbook() -> None:
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(7)
    left, right = columns(rng, 33).round(1), columns(rng, 21, shift=0.4).round(1)
    left[::5, 2], right[1::3, 2] = np.nan, np.nan
    found = LargestKS(left, right).distances(permutation.observed_labels(33, 21))[0]
    for number, distance in enumerate(found):
        a, b = (part[np.isfinite(part[:, number]), number] for part in (left, right))
        assert distance == pytest.approx(ks_2samp(a, b).statistic)


def test_the_mean_loss_is_a_difference_of_means() -> None:
    left, right = np.arange(5.0), np.arange(3.0)
    assert MeanLoss(left, right)(permutation.observed_labels(5, 3))[0] == pytest.approx(1.0)


def test_missing_values_are_not_zeros() -> None:
    """Half a window without a statistic whose values lie far from 0."""
    rng, alarms = np.random.default_rng(8), 0
    for _ in range(20):
        left, right = columns(rng, 48, shift=50), columns(rng, 24, shift=50)
        right[::2, 3] = np.nan
        alarms += permutation.permutation_test(LargestKS(left, right), 0.004, 999, rng).p <= 0.004
    assert alarms == 0


def test_a_column_without_any_value_is_at_no_distance() -> None:
    rng = np.random.default_rng(9)
    left, right = columns(rng, 48), columns(rng, 24)
    right[:, 3] = np.nan
    assert LargestKS(left, right).distances(permutation.observed_labels(48, 24))[0, 3] == 0.0
