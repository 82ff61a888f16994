"""Scores with bootstrap intervals, over all cases and by slice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.contract.spec import ModelSpec
from registry.core.media import Case
from registry.versions.bundle import Score

SEED = 7
CLASS_ROUNDS = 200
"""Bootstrap samples for the intervals of single classes, at most."""


def score_with_interval(
    spec: ModelSpec, results: Sequence[Any], truths: Sequence[Any], bootstrap: int, groups: Sequence[str] = ()
) -> Score:
    """The metric with its 95 % percentile bootstrap interval over cases (Efron 1979), or over groups of them.

    Args:
        groups: `Case.group` of each case; (): each stands alone.
    """
    drawn = [
        spec.score.score([results[i] for i in rows], [truths[i] for i in rows])
        for rows in resamples_of(spec, truths, bootstrap, groups)
    ]
    return _score(spec.score.score(results, truths), drawn, len(results), groups)


def slice_scores(
    spec: ModelSpec, cases: Sequence[Case], results: Sequence[Any], truths: Sequence[Any], bootstrap: int
) -> dict[str, Score]:
    """The metric of each of `slices`, and of each class as `class=...` if there are several."""
    groups = [case.group for case in cases]
    scores = {
        name: score_with_interval(
            spec, [results[r] for r in rows], [truths[r] for r in rows], bootstrap, [groups[r] for r in rows]
        )
        for name, rows in slices(cases).items()
    }
    classes = spec.score.per_class(results, truths)
    drawn = [
        spec.score.per_class([results[i] for i in rows], [truths[i] for i in rows])
        for rows in (_resamples(groups, min(bootstrap, CLASS_ROUNDS)) if classes else ())
    ]
    for name, value in classes.items():
        # A resample may hold no case of a class.
        scores[f"class={name}"] = _score(value, [one.get(name, value) for one in drawn], len(results), groups)
    return scores


def _score(value: float, drawn: Sequence[float], cases: int, groups: Sequence[str]) -> Score:
    low, high = np.quantile(drawn, (0.025, 0.975))
    count = len(rows_by_group(groups)) if any(groups) else 0
    return Score(value=value, low=float(low), high=float(high), cases=cases, groups=count)


def slices(cases: Sequence[Case]) -> dict[str, list[int]]:
    """Row numbers by slice: `origin=...` and `<attribute>=...`. An attribute with one value makes no slice."""
    found: dict[str, dict[str, list[int]]] = {}
    for row, case in enumerate(cases):
        for name, value in {"origin": case.origin, **case.attributes}.items():
            found.setdefault(name, {}).setdefault(str(value), []).append(row)
    return {
        f"{name}={value}": rows
        for name, values in found.items()
        if name == "origin" or len(values) > 1
        for value, rows in sorted(values.items())
    }


def rows_by_group(groups: Sequence[str]) -> list[NDArray[np.int64]]:
    """Row numbers, int64, of each group, and of each case without a group."""
    found: dict[str | int, list[int]] = {}
    for row, group in enumerate(groups):
        found.setdefault(group or row, []).append(row)
    return [np.array(rows, np.int64) for rows in found.values()]


def witnesses(cases: Sequence[Case]) -> int:
    """How many independent units there are: groups, and cases without a group."""
    return len(rows_by_group([case.group for case in cases]))


def counted(groups: Sequence[str]) -> str:
    """What `witnesses` counts, in words."""
    return "groups of test cases" if any(groups) else "test cases"


def resamples_of(
    spec: ModelSpec, truths: Sequence[Any], bootstrap: int, groups: Sequence[str] = ()
) -> Sequence[NDArray[np.int64]]:
    """`resamples` of cases with these truths: one int64 [cases drawn] per sample.

    If cases have groups, whole groups are drawn (cluster bootstrap, Davison and Hinkley 1997, section 3.8). Pictures of
    one patient are not independent, and an interval over single pictures would be too narrow.
    """
    positive = np.array([spec.score.positive(truth) for truth in truths], dtype=bool)
    return _resamples(groups or [""] * len(truths), bootstrap, positive)


def _resamples(
    groups: Sequence[str], bootstrap: int, positive: NDArray[np.bool_] | None = None
) -> Sequence[NDArray[np.int64]]:
    if not any(groups):
        return list(resamples(len(groups), bootstrap, positive))
    together = rows_by_group(groups)
    some = None if positive is None else np.array([positive[rows].any() for rows in together], dtype=bool)
    return [np.concatenate([together[n] for n in drawn]) for drawn in resamples(len(together), bootstrap, some)]


def resamples(cases: int, bootstrap: int, positive: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """Row numbers drawn with replacement, int64 [bootstrap, cases]. They are the same for every version: pairs.

    Args:
        positive: bool [cases]. If any case is positive, samples without one are drawn again, because average precision
            is not defined on them.
    """
    rng = np.random.default_rng(SEED)
    rows = rng.integers(0, cases, (bootstrap, cases))
    if positive is not None and positive.any():
        while len(empty := np.flatnonzero(~positive[rows].any(axis=1))):
            rows[empty] = rng.integers(0, cases, (len(empty), cases))
    return rows
