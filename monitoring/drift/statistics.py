"""Two-sample tests of a window of predictions against the bundle's reference. NumPy only.

A verdict makes four tests that share its false-alarm rate (Bonferroni):

    data         image statistics: the largest Kolmogorov-Smirnov distance over the columns
    prediction   the same over the prediction statistics
    embedding    the energy distance (Szekely and Rizzo 2013, doi:10.1016/j.jspi.2013.03.018) between principal
                 components of the pooled embeddings
    performance  how much the mean score of labelled predictions lies below the reference's

No threshold is a constant. Each is a quantile of the statistic over permutations (monitoring.drift.permutation).

A permutation test is exact on average over references, but a version keeps one reference for all its verdicts. An
unlucky one would alarm more often than stated for as long as the version lives (measured: 16 % instead of 5 %). The
tests therefore run at a third of their share, at which nearly every reference keeps the stated rate.

A reference may have several origins, such as the starter data and a stream that was learned later. A window has drifted
only if it differs from each origin and from all of them together; the largest p-value is valid for that question. A
handful of rows agrees with nearly anything, so an origin counts by itself only from MIN_ORIGIN rows on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from monitoring.drift import permutation
from monitoring.drift.findings import ALL, IMAGE, MIN_REFERENCE, PREDICTION, Column, Finding, Performance, Table, Test
from monitoring.drift.permutation import Array, Energy, LargestKS, MeanLoss, TestOutcome, distances

FAMILIES = 4
LEVEL_DIVISOR = 3
"""Each test runs at the level rate / FAMILIES / LEVEL_DIVISOR; see above."""
MIN_WINDOW = 8
"""Fewer predictions than this are not judged."""
MIN_ORIGIN = 20
"""Rows from which an origin counts by itself. A window of 200 at a Kolmogorov-Smirnov distance of 0.5 from the whole
reference is then detected in 82 % of cases; with 6 rows it would be 13 % (docs/decisions/0041)."""
MAX_ROWS = 500
"""Longer samples are thinned evenly to this many rows: enough to detect a distance of 0.15 in any of 20 columns."""
MAX_EMBEDDINGS = 400


def compare_distributions(reference: Table, window: Table, alpha: float, *, seed: int = 0) -> Finding:
    """Compares the distributions of a window with the reference's.

    Args:
        alpha: the false-alarm rate of a whole verdict, the test of performance included.

    Raises:
        ValueError: fewer than MIN_WINDOW rows in the window or MIN_REFERENCE in the reference.
    """
    check_enough(reference, window)
    window = thinned(window)
    findings = [_compare_with(part, window, alpha, name, seed) for name, part in reference_parts(reference).items()]
    return max(findings, key=lambda finding: min((test.p / test.level for test in finding.tests), default=1.0))


def is_enough(reference: Table, window: Table) -> bool:
    return len(window) >= MIN_WINDOW and len(reference) >= MIN_REFERENCE


def check_enough(reference: Table, window: Table) -> None:
    """Raises ValueError if there are too few rows to judge."""
    if not is_enough(reference, window):
        raise ValueError(f"{len(window)} rows cannot be judged against {len(reference)}")


def thinned(table: Table) -> Table:
    """The table itself, or MOST_ROWS of its rows, evenly."""
    return table.take(_evenly(len(table), MAX_ROWS)) if len(table) > MAX_ROWS else table


def kinds(reference: Table, window: Table) -> list[str]:
    """The kinds of tests that `compare_distributions` can make of these."""
    lacking = without_test(reference, window)
    prefixes = {"data": IMAGE, "prediction": PREDICTION}
    found = [k for k, p in prefixes.items() if any(n.startswith(p) and n not in lacking for n in reference.columns)]
    return [*found, "embedding"] if "embedding" not in lacking else found


def reference_parts(reference: Table) -> dict[str, Table]:
    """The whole reference, and each of its origins if there are several of at least MIN_ORIGIN rows."""
    whole = {ALL: reference}
    origins = sorted(set(reference.origin))
    if len(origins) < 2:
        return whole
    labels = np.array(reference.origin)
    each = {name: reference.take(np.flatnonzero(labels == name)) for name in origins}
    return whole | {name: part for name, part in each.items() if len(part) >= MIN_ORIGIN}


def compare_scores(reference: Array, window: Array, alpha: float, tolerance: float, *, seed: int = 0) -> Performance:
    """Tests whether labelled predictions score worse (lower) than the reference, by more than `tolerance`."""
    rng = np.random.default_rng(seed)
    level = _level(alpha)
    found = permutation.permutation_test(MeanLoss(reference, window), level, max(999, int(np.ceil(4 / level))), rng)
    again = [rng.choice(s, (1000, len(s))).mean(axis=1) for s in (window, reference)]
    low, high = np.quantile(again[0] - again[1], (0.025, 0.975))
    means = float(reference.mean()), float(window.mean())
    return Performance(len(window), *means, float(low), float(high), found.p, level, tolerance, found.threshold)


def most_responsible(reference: Table, window: Table, finding: Finding) -> NDArray[np.intp]:
    """Rows of the window, the farthest from the reference first.

    A row's distance is the mean robust z-score (median, MAD) of the statistics that drifted (of all if none did) and of
    the distance from its embedding to the third-nearest reference case.
    """
    reference = reference_parts(reference).get(finding.compared_with, reference)
    moved = [column.name for test in finding.tests for column in test.columns if column.drifted]
    names = moved or [column.name for test in finding.tests for column in test.columns]
    scores = [_robust_z(reference.columns[name], window.columns[name]) for name in names]
    if reference.embedding.shape[1] and finding.test("embedding"):
        few = reference.embedding[_evenly(len(reference), MAX_ROWS)].astype(np.float64)
        rank = min(3, len(few) - 1)
        inside = np.sort(distances(few, few), axis=1)[:, rank]
        near, rows = max(rank - 1, 0), window.embedding
        starts = range(0, len(rows), MAX_ROWS)  # a window may hold many thousands
        outside = np.concatenate(
            [np.sort(distances(rows[i : i + MAX_ROWS].astype(np.float64), few), axis=1)[:, near] for i in starts]
        )
        scores.append(_robust_z(inside, outside))
    return np.argsort(-np.mean(scores, axis=0), kind="stable") if scores else np.arange(len(window))


def _level(alpha: float) -> float:
    return alpha / FAMILIES / LEVEL_DIVISOR


def _compare_with(reference: Table, window: Table, alpha: float, name: str, seed: int) -> Finding:
    count = len(reference)
    reference = reference.take(_evenly(count, MAX_ROWS))
    rng = np.random.default_rng(seed)
    level = _level(alpha)
    # Enough rounds for the level to be reached at all, and more where they cost nothing.
    rounds = max(999 if len(reference) + len(window) <= 600 else 199, int(np.ceil(4 / level)))
    tests = []
    unwatched = without_test(reference, window)
    for kind, prefix in (("data", IMAGE), ("prediction", PREDICTION)):
        names = [n for n in reference.columns if n.startswith(prefix) and n not in unwatched]
        if names:
            left, right = _matrix(reference, names), _matrix(window, names)
            statistic = LargestKS(left, right)
            found = permutation.permutation_test(statistic, level, rounds, rng)
            tests.append(_as_test(kind, names, statistic, found, level, left, right))
    if _has_embedding(reference, window):
        a, b = (t.embedding[_evenly(len(t), MAX_EMBEDDINGS)].astype(np.float64) for t in (reference, window))
        energy = permutation.permutation_test(Energy(a, b), level, rounds, rng)
        tests.append(Test("embedding", energy.statistic, energy.threshold, energy.p, level))
    return Finding(len(window), count, name, tuple(tests), alpha, rounds, unwatched)


def without_test(reference: Table, window: Table) -> dict[str, str]:
    """Statistics that cannot be compared, each with the reason. Missing values are left out, not taken for zeros."""
    found = {}
    for name in sorted({*reference.columns, *window.columns}):
        if name not in reference.columns:
            found[name] = "this version's reference lacks it"
        elif name not in window.columns:
            found[name] = "these predictions lack it"
        else:
            known = [int(np.isfinite(table.columns[name]).sum()) for table in (reference, window)]
            if known[0] < MIN_REFERENCE:
                found[name] = f"only {known[0]} rows of the reference have a value"
            elif known[1] < MIN_WINDOW:
                found[name] = f"only {known[1]} of these predictions have a value"
    if not _has_embedding(reference, window):
        lengths = (reference.embedding.shape[1], window.embedding.shape[1])
        found["embedding"] = f"the reference's have {lengths[0]} numbers, these predictions' {lengths[1]}"
    return found


def _has_embedding(reference: Table, window: Table) -> bool:
    return reference.embedding.shape[1] == window.embedding.shape[1] > 0


def compare_columns(
    reference: Table, window: Table, prefix: str, level: float, *, matters: float = 0.0, seed: int = 0
) -> Test | None:
    """One test of the columns with this prefix, at exactly this level; None if the tables share no such column.

    Tables that do not differ cost little, however small the level is.

    Args:
        matters: a distance up to this is not tested; p is then 1.
    """
    unwatched = without_test(reference, window)
    names = [n for n in reference.columns if n.startswith(prefix) and n not in unwatched]
    if not names:
        return None
    left, right = _matrix(reference, names), _matrix(window, names)
    statistic = LargestKS(left, right)
    found = permutation.sequential_test(statistic, level, np.random.default_rng(seed), matters=matters)
    return _as_test(prefix.removesuffix("."), names, statistic, found, level, left, right)


def _matrix(table: Table, names: list[str]) -> Array:
    return np.stack([table.columns[name] for name in names], axis=1)


def _as_test(
    kind: str, names: list[str], statistic: LargestKS, found: TestOutcome, level: float, left: Array, right: Array
) -> Test:
    each = statistic.distances(permutation.observed_labels(statistic.n, statistic.m))[0]
    columns = tuple(
        Column(name, float(distance), bool(distance > found.threshold), _quantiles(left[:, i]), _quantiles(right[:, i]))
        for i, (name, distance) in enumerate(zip(names, each, strict=True))
    )
    return Test(kind, found.statistic, found.threshold, found.p, level, columns)


def _evenly(count: int, most: int) -> NDArray[np.intp]:
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).astype(np.intp)


def _quantiles(values: Array) -> tuple[float, float, float]:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return (np.nan, np.nan, np.nan)
    low, middle, high = np.quantile(finite, (0.05, 0.5, 0.95))
    return float(low), float(middle), float(high)


def _robust_z(reference: Array, values: Array) -> Array:
    """A missing value is at no distance."""
    reference = reference[np.isfinite(reference)]
    middle = np.median(reference)
    spread = 1.4826 * np.median(np.abs(reference - middle)) or float(reference.std()) or 1.0
    return np.nan_to_num(np.minimum(np.abs(values - middle) / spread, 50.0), nan=0.0)
