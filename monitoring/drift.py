"""Has the world moved? Two-sample tests of a window of predictions against the bundle's reference. NumPy only.

One verdict makes four tests that share its false-alarm rate (Bonferroni):

    data         image statistics: the largest Kolmogorov-Smirnov distance over the columns
    prediction   the same over the prediction statistics
    embedding    the energy distance (Szekely and Rizzo 2013, doi:10.1016/j.jspi.2013.03.018) between principal
                 components of the pooled embeddings
    performance  how much the mean score of labelled predictions lies below the reference's

No threshold is a constant: each is the quantile of the statistic when the labels "reference" and "window" are dealt
anew (Westfall and Young 1993), which is exact for any sample size and any dependence between the columns. Taking the
largest distance over the columns makes the one threshold hold for all of them together.

That exactness is over references and windows alike, but a version has one reference, which its verdicts meet again and
again: an unlucky one would alarm more often than stated for as long as the version lives (measured: 16 % where 5 %
were stated). The tests therefore run at a third of their share, at which nearly every reference keeps to the rate.

A reference with several origins (say the starter data and a stream learnt from later) asks whether the window agrees
with any of them, or with all taken together: the window counts as drifted only where every one of these is rejected.
Under "it comes from one of them", that p-value, the largest, is still valid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.media import FloatArray

Array = NDArray[np.float64]

IMAGE, PREDICTION = "image.", "prediction."
FAMILIES = 4
STRICTER = 3
"""Each test runs at the verdict's rate / FAMILIES / STRICTER; see above."""
MIN_WINDOW = 8
"""Fewer predictions than this are not judged."""
MIN_REFERENCE = 5
MOST_ROWS = 500
"""Longer samples are thinned to this many rows, evenly: enough to see a distance of 0.15 in any of 20 columns."""
MOST_EMBEDDINGS = 400
COMPONENTS = 12
ALL = "all"


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of the reference or of a window.

    Attributes:
        ids: case or prediction ids, n of them.
        columns: name with its prefix (`image.noise`, `prediction.confidence`) -> float64 [n].
        embedding: float32 [n, D]; D 0 when there is none.
        origin: where each row came from, n of them.
        score: float64 [n], NaN where no label is known.
    """

    ids: tuple[str, ...]
    columns: dict[str, Array]
    embedding: FloatArray
    origin: tuple[str, ...] = ()
    score: Array = field(default_factory=lambda: np.zeros(0))

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Sequence[int] | NDArray[np.intp]) -> Table:
        index = np.asarray(rows, dtype=np.intp)
        return Table(
            ids=tuple(self.ids[i] for i in index),
            columns={name: values[index] for name, values in self.columns.items()},
            embedding=self.embedding[index],
            origin=tuple(self.origin[i] for i in index) if self.origin else (),
            score=self.score[index] if len(self.score) else self.score,
        )


@dataclass(frozen=True)
class Column:
    """One statistic. Quantiles are the 5th, 50th and 95th percentile."""

    name: str
    distance: float
    drifted: bool
    reference: tuple[float, float, float]
    window: tuple[float, float, float]

    @property
    def shift(self) -> float:
        """How far the median moved, in widths of the reference's 5-95 % range."""
        low, middle, high = self.reference
        return abs(self.window[1] - middle) / max(high - low, 1e-9)


@dataclass(frozen=True)
class Test:
    """One test. It alarms where `statistic` exceeds `threshold`, that is where `p` is at most `level`."""

    kind: str
    statistic: float
    threshold: float
    p: float
    level: float
    columns: tuple[Column, ...] = ()

    @property
    def drifted(self) -> bool:
        return self.p <= self.level

    @property
    def margin(self) -> float:
        """How far above its threshold; 1 is just at it."""
        return self.statistic / self.threshold if self.threshold > 0 else float(self.statistic > 0)


@dataclass(frozen=True)
class Performance:
    """Mean score of labelled predictions against the reference; `low` and `high` bound the difference (95 %)."""

    labels: int
    reference: float
    window: float
    low: float
    high: float
    p: float
    level: float
    tolerance: float

    @property
    def drifted(self) -> bool:
        return self.p <= self.level and self.reference - self.window > self.tolerance


@dataclass(frozen=True)
class Finding:
    """What the tests of distributions say. `compared_with` names the origin that fits best."""

    rows: int
    reference_rows: int
    compared_with: str
    tests: tuple[Test, ...]
    alpha: float
    permutations: int

    @property
    def drifted(self) -> bool:
        return any(test.drifted for test in self.tests)

    def test(self, kind: str) -> Test | None:
        return next((test for test in self.tests if test.kind == kind), None)

    def to_json(self) -> dict[str, Any]:
        tests = [{**asdict(test), "drifted": test.drifted} for test in self.tests]
        return {**asdict(self), "tests": tests, "drifted": self.drifted}


def judge(reference: Table, window: Table, alpha: float, *, seed: int = 0) -> Finding:
    """Compares the distributions of a window with the reference's.

    Args:
        alpha: the false-alarm rate of a whole verdict, the test of performance included.

    Raises:
        ValueError: fewer than MIN_WINDOW rows in the window or MIN_REFERENCE in the reference.
    """
    if len(window) < MIN_WINDOW or len(reference) < MIN_REFERENCE:
        raise ValueError(f"{len(window)} rows cannot be judged against {len(reference)}")
    window = window.take(_thin(len(window), MOST_ROWS))
    findings = [_judge_one(part, window, alpha, name, seed) for name, part in parts(reference).items()]
    return max(findings, key=lambda finding: min((test.p / test.level for test in finding.tests), default=1.0))


def parts(reference: Table) -> dict[str, Table]:
    """The reference as a whole, and each of its origins where there are several, if large enough to compare with."""
    whole = {ALL: reference}
    origins = sorted(set(reference.origin))
    if len(origins) < 2:
        return whole
    labels = np.array(reference.origin)
    each = {name: reference.take(np.flatnonzero(labels == name)) for name in origins}
    return whole | {name: part for name, part in each.items() if len(part) >= MIN_REFERENCE}


def judge_scores(reference: Array, window: Array, alpha: float, tolerance: float, *, seed: int = 0) -> Performance:
    """Tests whether labelled predictions score worse (lower) than the reference, by more than `tolerance`."""
    rng, n, m = np.random.default_rng(seed), len(reference), len(window)
    pooled = np.concatenate([reference, window])
    rounds = 999
    weights = _deal(n, m, rounds, rng)
    observed = reference.mean() - window.mean()
    p = (1 + int((weights @ pooled >= observed - 1e-12).sum())) / (rounds + 1)
    again = [rng.choice(s, (1000, len(s))).mean(axis=1) for s in (window, reference)]
    low, high = np.quantile(again[0] - again[1], (0.025, 0.975))
    means = float(reference.mean()), float(window.mean())
    return Performance(m, *means, float(low), float(high), p, _level(alpha), tolerance)


def responsible(reference: Table, window: Table, finding: Finding) -> NDArray[np.intp]:
    """Rows of the window, the one that lies farthest from the reference first.

    A row's distance is the mean robust z-score (median, MAD) of the statistics that drifted, or of all of them
    where none did, and of how far its embedding is from its third-nearest reference case.
    """
    reference = parts(reference).get(finding.compared_with, reference)
    moved = [column.name for test in finding.tests for column in test.columns if column.drifted]
    names = moved or [column.name for test in finding.tests for column in test.columns]
    scores = [_robust_z(reference.columns[name], window.columns[name]) for name in names]
    if reference.embedding.shape[1] and finding.test("embedding"):
        few = reference.embedding[_thin(len(reference), MOST_ROWS)].astype(np.float64)
        rank = min(3, len(few) - 1)
        inside = np.sort(_distances(few, few), axis=1)[:, rank]
        outside = np.sort(_distances(window.embedding.astype(np.float64), few), axis=1)[:, max(rank - 1, 0)]
        scores.append(_robust_z(inside, outside))
    return np.argsort(-np.mean(scores, axis=0), kind="stable") if scores else np.arange(len(window))


def _level(alpha: float) -> float:
    return alpha / FAMILIES / STRICTER


def _judge_one(reference: Table, window: Table, alpha: float, name: str, seed: int) -> Finding:
    count = len(reference)
    reference = reference.take(_thin(count, MOST_ROWS))
    rng = np.random.default_rng(seed)
    level = _level(alpha)
    rows = len(reference) + len(window)
    # Enough rounds for the level to be reached at all, and more where they cost nothing.
    rounds = max(999 if rows <= 600 else 199, int(np.ceil(4 / level)))
    weights = _deal(len(reference), len(window), rounds, rng)
    tests = []
    for kind, prefix in (("data", IMAGE), ("prediction", PREDICTION)):
        names = [n for n in reference.columns if n.startswith(prefix) and n in window.columns]
        if names:
            tests.append(_test_columns(kind, names, reference, window, level, weights))
    if reference.embedding.shape[1] and reference.embedding.shape[1] == window.embedding.shape[1]:
        a, b = (t.embedding[_thin(len(t), MOST_EMBEDDINGS)].astype(np.float64) for t in (reference, window))
        thinned = len(a) + len(b) < rows
        tests.append(_test_embedding(a, b, level, _deal(len(a), len(b), rounds, rng) if thinned else weights))
    return Finding(len(window), count, name, tuple(tests), alpha, rounds)


def _test_columns(kind: str, names: list[str], reference: Table, window: Table, level: float, weights: Array) -> Test:
    left = np.stack([reference.columns[name] for name in names], axis=1)
    right = np.stack([window.columns[name] for name in names], axis=1)
    pooled = np.nan_to_num(np.concatenate([left, right]), nan=0.0, posinf=1e300, neginf=-1e300)
    n, m = len(left), len(right)
    order = np.argsort(pooled, axis=0, kind="stable")
    ordered = np.take_along_axis(pooled, order, axis=0)
    last = np.ones(ordered.shape, dtype=bool)  # the last row of each run of equal values, where the steps are compared
    last[:-1] = ordered[1:] > ordered[:-1]
    observed = _ks(_deal_once(n, m)[None], order, last)[0]
    batch = max(1, 2_000_000 // pooled.size)
    dealt = weights.astype(np.float32)
    starts = range(0, len(dealt), batch)
    null = np.concatenate([_ks(dealt[i : i + batch], order, last).max(axis=1) for i in starts])
    p, threshold = _calibrate(float(observed.max()), null, level)
    columns = tuple(
        Column(name, float(distance), bool(distance > threshold), _quantiles(left[:, i]), _quantiles(right[:, i]))
        for i, (name, distance) in enumerate(zip(names, observed, strict=True))
    )
    return Test(kind, float(observed.max()), threshold, p, level, columns)


def _ks(weights: NDArray[Any], order: NDArray[np.intp], last: NDArray[np.bool_]) -> Array:
    """weights [P, N] (+1/n reference, -1/m window), order [N, C] -> Kolmogorov-Smirnov distances [P, C]."""
    steps = np.abs(np.cumsum(weights[:, order], axis=1, dtype=np.float32))
    return np.where(last, steps, 0).max(axis=1).round(6).astype(np.float64)


def _test_embedding(left: Array, right: Array, level: float, dealt: Array) -> Test:
    n, m = len(left), len(right)
    # Components of both together: components of the reference alone would fit it better than any window and alarm
    # on data without drift.
    pooled = np.concatenate([left, right])
    pooled -= pooled.mean(axis=0)
    u, s, _ = np.linalg.svd(pooled, full_matrices=False)
    count = min(COMPONENTS, max(1, (n + m) // 4), int((s > s[0] * 1e-6).sum()) or 1)
    distances = _distances(*(2 * [u[:, :count] * np.sqrt(s[:count])]))
    weights = np.concatenate([_deal_once(n, m)[None], dealt])
    energy = -np.einsum("pi,pi->p", weights @ distances, weights)
    p, threshold = _calibrate(float(energy[0]), energy[1:], level)
    return Test("embedding", float(energy[0]), threshold, p, level)


def _calibrate(observed: float, null: Array, level: float) -> tuple[float, float]:
    """p-value and the threshold above which it is at most `level`."""
    p = (1 + int((null >= observed - 1e-9).sum())) / (len(null) + 1)
    allowed = int(np.floor(level * (len(null) + 1))) - 1
    return p, float(np.sort(null)[::-1][allowed])


def _deal_once(n: int, m: int) -> Array:
    """Weights (1/n reference, -1/m window) whose product with pooled values is the difference of means."""
    return np.concatenate([np.full(n, 1 / n), np.full(m, -1 / m)])


def _deal(n: int, m: int, rounds: int, rng: np.random.Generator) -> Array:
    return rng.permuted(np.tile(_deal_once(n, m), (rounds, 1)), axis=1)


def _thin(count: int, most: int) -> NDArray[np.intp]:
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).astype(np.intp)


def _distances(a: Array, b: Array) -> Array:
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return np.sqrt(np.maximum(squares, 0))


def _quantiles(values: Array) -> tuple[float, float, float]:
    low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
    return float(low), float(middle), float(high)


def _robust_z(reference: Array, values: Array) -> Array:
    middle = np.median(reference)
    spread = 1.4826 * np.median(np.abs(reference - middle)) or float(reference.std()) or 1.0
    return np.asarray(np.minimum(np.abs(values - middle) / spread, 50.0))
