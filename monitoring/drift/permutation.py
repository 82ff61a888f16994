"""Permutation tests of two samples in flat memory. NumPy only.

A statistic is compared with its values after the labels "reference" and "window" are shuffled many times (Westfall and
Young 1993). The test is exact for any sample size and any dependence between columns, as long as rows can be exchanged.
Permutations are drawn and measured in batches, so that a test at a small level takes time but no memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Labels = NDArray[np.bool_]
"""[N, B]: which of the N pooled rows count as reference, in each of B permutations."""

BATCH_CELLS = 1 << 18
FIRST_BATCH = 64
ENOUGH_ABOVE = 20
"""`sequential_test` stops after so many permutations with a statistic as large as the observed one: p is then known to
about a fifth."""
COMPONENTS = 12
TOLERANCE = 1e-9


class Statistic(Protocol):
    """How far two samples differ, for each of a batch of labellings of their `n` + `m` pooled rows."""

    n: int
    m: int

    def __call__(self, labels: Labels) -> Array:
        """Labels [N, B] -> float64 [B]."""
        ...


@dataclass(frozen=True)
class TestOutcome:
    """The result of a test.

    Attributes:
        p: share of permutations at least as extreme as the observation. It alarms if p is at most the level.
        threshold: the statistic above which p is at most the level; a bound on it if `sequential_test` stopped early.
        permutations: how many were drawn.
    """

    statistic: float
    threshold: float
    p: float
    permutations: int


def permutation_test(statistic: Statistic, level: float, rounds: int, rng: np.random.Generator) -> TestOutcome:
    """Draws `rounds` permutations; at least 1 / level are needed to reach the level."""
    observed = float(statistic(observed_labels(statistic.n, statistic.m))[0])
    null = np.concatenate([statistic(labels) for labels in _permutations(statistic.n, statistic.m, rounds, rng)])
    return _outcome(observed, null, level)


def sequential_test(
    statistic: Statistic, level: float, rng: np.random.Generator, *, matters: float = -math.inf
) -> TestOutcome:
    """Stops as soon as p cannot come down to `level` (Besag and Clifford 1991, doi:10.1093/biomet/78.2.301).

    Samples that do not differ cost about a hundred permutations, however small the level is. p is valid either way. A
    statistic of at most `matters` is too small to care about: nothing is drawn, and p is 1.
    """
    observed = float(statistic(observed_labels(statistic.n, statistic.m))[0])
    if observed <= matters:
        return TestOutcome(observed, matters, 1.0, 0)
    rounds = max(999, int(np.ceil(4 / level)))
    enough = max(ENOUGH_ABOVE, int(np.ceil(level * (rounds + 1))) + 1)
    null: list[Array] = []
    above = made = 0
    for labels in _permutations(statistic.n, statistic.m, rounds, rng):
        null.append(statistic(labels))
        reached = np.flatnonzero(null[-1] >= observed - TOLERANCE)
        if above + len(reached) >= enough:
            made += int(reached[enough - above - 1]) + 1
            return TestOutcome(observed, max(observed, *(float(part.max()) for part in null)), enough / made, made)
        above, made = above + len(reached), made + len(null[-1])
    return _outcome(observed, np.concatenate(null), level)


def _outcome(observed: float, null: Array, level: float) -> TestOutcome:
    rounds = len(null)
    p = (1 + int((null >= observed - TOLERANCE).sum())) / (rounds + 1)
    allowed = int(np.floor(level * (rounds + 1))) - 1
    return TestOutcome(observed, float(np.sort(null)[::-1][allowed]), p, rounds)


def observed_labels(n: int, m: int) -> Labels:
    """[n + m, 1]: n rows of the reference, then m of the window."""
    return (np.arange(n + m) < n)[:, None]


def _permutations(n: int, m: int, rounds: int, rng: np.random.Generator) -> Iterator[Labels]:
    """`rounds` permutations in batches; the first batches are small, for tests that stop early."""
    labels, size, largest = observed_labels(n, m).T, FIRST_BATCH, max(FIRST_BATCH, BATCH_CELLS // (n + m))
    while rounds > 0:
        count = min(size, rounds)
        yield np.ascontiguousarray(rng.permuted(np.repeat(labels, count, axis=0), axis=1).T)
        rounds, size = rounds - count, min(2 * size, largest)


class LargestKS:
    """The largest Kolmogorov-Smirnov distance over the columns, so that one threshold holds for all of them.

    Args:
        reference, window: float64 [n, C] and [m, C]. A value that is not finite is missing and left out.
    """

    def __init__(self, reference: Array, window: Array) -> None:
        self.n, self.m = len(reference), len(window)
        pooled = np.concatenate([reference, window])
        self._columns = [self._ordered(pooled[:, i]) for i in range(pooled.shape[1])]

    @staticmethod
    def _ordered(values: Array) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        rows = np.flatnonzero(np.isfinite(values))
        rows = rows[np.argsort(values[rows], kind="stable")]
        ordered = values[rows]
        last = np.ones(len(rows), dtype=bool)  # of each run of equal values: only there the steps are compared
        last[:-1] = ordered[1:] > ordered[:-1]
        return rows, last

    def distances(self, labels: Labels) -> Array:
        """Labels [N, B] -> distances [B, C]."""
        numbers, found = labels.astype(np.int32), []
        for rows, last in self._columns:
            mine = numbers[rows]
            own = mine.sum(axis=0)
            # Both distribution functions, times n m: whole numbers, so that equal distances are equal.
            steps = np.cumsum(mine * len(rows) - own, axis=0, dtype=np.int32)
            steps = steps if last.all() else steps[last]
            largest = np.maximum(steps.max(axis=0, initial=0), -steps.min(axis=0, initial=0))
            found.append(largest / np.maximum(own * (len(rows) - own), 1))
        return np.stack(found, axis=1)

    def __call__(self, labels: Labels) -> Array:
        return np.asarray(self.distances(labels).max(axis=1))


class Energy:
    """The energy distance (Szekely and Rizzo 2013, doi:10.1016/j.jspi.2013.03.018) on principal components of both.

    Components of the reference alone would fit it better than any window, and alarm without drift.
    """

    def __init__(self, reference: Array, window: Array) -> None:
        self.n, self.m = len(reference), len(window)
        pooled = np.concatenate([reference, window])
        pooled -= pooled.mean(axis=0)
        u, s, _ = np.linalg.svd(pooled, full_matrices=False)
        count = min(COMPONENTS, max(1, len(pooled) // 4), int((s > s[0] * 1e-6).sum()) or 1)
        points = u[:, :count] * np.sqrt(s[:count])
        self._distances = distances(points, points)

    def __call__(self, labels: Labels) -> Array:
        weights = np.where(labels, 1 / self.n, -1 / self.m)
        return np.asarray(-np.einsum("ip,ip->p", self._distances @ weights, weights))


class MeanLoss:
    """How far the window's mean lies below the reference's. Both float64, [n] and [m]."""

    def __init__(self, reference: Array, window: Array) -> None:
        self.n, self.m = len(reference), len(window)
        self._pooled = np.concatenate([reference, window])

    def __call__(self, labels: Labels) -> Array:
        return np.asarray(self._pooled @ np.where(labels, 1 / self.n, -1 / self.m))


def distances(a: Array, b: Array) -> Array:
    """Euclidean distances of the rows of [n, D] and [m, D] -> [n, m]."""
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return np.sqrt(np.maximum(squares, 0))
