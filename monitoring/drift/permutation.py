"""Permutation tests of two samples in flat memory. NumPy only.

A statistic is compared with what it is when the labels "reference" and "window" are dealt anew, many times (Westfall
and Young 1993): exact for any sample size and any dependence between the columns, as long as rows can be exchanged.
Deals are made and measured in batches, so that a test at a small level takes time but no memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Deals = NDArray[np.bool_]
"""[N, B]: whether the row counts as one of the reference, in each of B deals of the pooled N rows."""

BATCH_CELLS = 1 << 18
FIRST_BATCH = 64
ENOUGH_ABOVE = 20
"""Deals with a statistic as large as the observed one after which `quick` stops: p is known to about a fifth then."""
COMPONENTS = 12
TIE = 1e-9


class Statistic(Protocol):
    """What a test asks of a statistic: how large it is under each of a batch of deals. `n` + `m` rows are pooled."""

    n: int
    m: int

    def __call__(self, deals: Deals) -> Array:
        """Deals [N, B] -> float64 [B]."""
        ...


@dataclass(frozen=True)
class TestOutcome:
    """Attributes:
    p: how often a deal is at least as extreme as what was observed; it alarms where this is at most the level.
    threshold: the statistic above which p is at most the level; where `quick` stopped, no more than a bound.
    deals: how many were made.
    """

    statistic: float
    threshold: float
    p: float
    deals: int


def test(statistic: Statistic, level: float, rounds: int, rng: np.random.Generator) -> TestOutcome:
    """Makes all `rounds` deals, which have to be enough for `level` to be reached (1 / level at least)."""
    observed = float(statistic(as_dealt(statistic.n, statistic.m))[0])
    null = np.concatenate([statistic(deals) for deals in _deals(statistic.n, statistic.m, rounds, rng)])
    return _tested(observed, null, level)


def quick(statistic: Statistic, level: float, rng: np.random.Generator, *, matters: float = -math.inf) -> TestOutcome:
    """Stops as soon as p cannot come down to `level` (Besag and Clifford 1991, doi:10.1093/biomet/78.2.301).

    Samples that do not differ cost a hundred deals or so, however small the level is. p is valid either way. Where the
    statistic is `matters` at most, nobody wants to know: no deal is made, and p is 1.
    """
    observed = float(statistic(as_dealt(statistic.n, statistic.m))[0])
    if observed <= matters:
        return TestOutcome(observed, matters, 1.0, 0)
    rounds = max(999, int(np.ceil(4 / level)))
    enough = max(ENOUGH_ABOVE, int(np.ceil(level * (rounds + 1))) + 1)
    null: list[Array] = []
    above = made = 0
    for deals in _deals(statistic.n, statistic.m, rounds, rng):
        null.append(statistic(deals))
        reached = np.flatnonzero(null[-1] >= observed - TIE)
        if above + len(reached) >= enough:
            made += int(reached[enough - above - 1]) + 1
            return TestOutcome(observed, max(observed, *(float(part.max()) for part in null)), enough / made, made)
        above, made = above + len(reached), made + len(null[-1])
    return _tested(observed, np.concatenate(null), level)


def _tested(observed: float, null: Array, level: float) -> TestOutcome:
    rounds = len(null)
    p = (1 + int((null >= observed - TIE).sum())) / (rounds + 1)
    allowed = int(np.floor(level * (rounds + 1))) - 1
    return TestOutcome(observed, float(np.sort(null)[::-1][allowed]), p, rounds)


def as_dealt(n: int, m: int) -> Deals:
    """The labels as they are: n rows of the reference, then m of the window."""
    return (np.arange(n + m) < n)[:, None]


def _deals(n: int, m: int, rounds: int, rng: np.random.Generator) -> Iterator[Deals]:
    """Batches of `rounds` deals; the first ones are small, for who stops early."""
    labels, size, most = as_dealt(n, m).T, FIRST_BATCH, max(FIRST_BATCH, BATCH_CELLS // (n + m))
    while rounds > 0:
        count = min(size, rounds)
        yield np.ascontiguousarray(rng.permuted(np.repeat(labels, count, axis=0), axis=1).T)
        rounds, size = rounds - count, min(2 * size, most)


class LargestKS:
    """The largest Kolmogorov-Smirnov distance over the columns, so that one threshold holds for all of them.

    Args:
        reference, window: float64 [n, C] and [m, C]. What is not finite is missing, and left out of its column.
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

    def distances(self, deals: Deals) -> Array:
        """Deals [N, B] -> distances [B, C]."""
        dealt, found = deals.astype(np.int32), []
        for rows, last in self._columns:
            mine = dealt[rows]
            own = mine.sum(axis=0)
            # Both distribution functions, times n m: whole numbers, so that equal distances are equal.
            steps = np.cumsum(mine * len(rows) - own, axis=0, dtype=np.int32)
            steps = steps if last.all() else steps[last]
            largest = np.maximum(steps.max(axis=0, initial=0), -steps.min(axis=0, initial=0))
            found.append(largest / np.maximum(own * (len(rows) - own), 1))
        return np.stack(found, axis=1)

    def __call__(self, deals: Deals) -> Array:
        return np.asarray(self.distances(deals).max(axis=1))


class Energy:
    """The energy distance (Szekely and Rizzo 2013, doi:10.1016/j.jspi.2013.03.018) on principal components of both.

    Components of the reference alone would fit it better than any window and alarm on data without drift.
    """

    def __init__(self, reference: Array, window: Array) -> None:
        self.n, self.m = len(reference), len(window)
        pooled = np.concatenate([reference, window])
        pooled -= pooled.mean(axis=0)
        u, s, _ = np.linalg.svd(pooled, full_matrices=False)
        count = min(COMPONENTS, max(1, len(pooled) // 4), int((s > s[0] * 1e-6).sum()) or 1)
        points = u[:, :count] * np.sqrt(s[:count])
        self._distances = distances(points, points)

    def __call__(self, deals: Deals) -> Array:
        weights = np.where(deals, 1 / self.n, -1 / self.m)
        return np.asarray(-np.einsum("ip,ip->p", self._distances @ weights, weights))


class MeanLoss:
    """How far the window's mean lies below the reference's. Both float64, [n] and [m]."""

    def __init__(self, reference: Array, window: Array) -> None:
        self.n, self.m = len(reference), len(window)
        self._pooled = np.concatenate([reference, window])

    def __call__(self, deals: Deals) -> Array:
        return np.asarray(self._pooled @ np.where(deals, 1 / self.n, -1 / self.m))


def distances(a: Array, b: Array) -> Array:
    """Euclidean distances of the rows of [n, D] and [m, D] -> [n, m]."""
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return np.sqrt(np.maximum(squares, 0))
