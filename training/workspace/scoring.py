"""Scores with bootstrap intervals, also by slice. Variants, bundles and the gate are all scored here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from registry.contract.spec import ModelSpec
from registry.core.media import MAX_CASE_VOXELS, Case, FloatArray, Prediction, Prepared
from registry.versions.bundle import Score
from registry.versions.predictor import CHUNK, Predictor

MEMORY = 1_000_000_000
"""Bytes of decoded cases to keep in memory; the others are decoded again for each epoch and variant."""

SEED = 7


@dataclass(frozen=True, eq=False)
class DecodedCase:
    """A case, decoded and preprocessed."""

    case: Case
    sample: Any
    prepared: Prepared
    truth: Any


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The evaluation of a version.

    Attributes:
        per_case: one row per case: `case`, `origin`, `score`, a column per attribute, and the columns that drift tests
            compare (`image.*`, `prediction.*`, `embedding`).
        score: over all cases.
        slices: by origin and by each attribute, e.g. `origin=starter`; `class=...` if there are several classes.
        predictions: in the order of `per_case`, without samples; `sample` decodes one again.
        truths, cases: in the same order.
    """

    per_case: pd.DataFrame
    score: Score
    slices: dict[str, Score]
    predictions: list[Prediction]
    truths: list[Any]
    cases: Sequence[Case]

    def sample(self, spec: ModelSpec, row: int) -> Any:
        """The decoded input of a row. All of them together may not fit into memory."""
        return spec.inference.decode(self.cases[row].input.read_bytes(), MAX_CASE_VOXELS)


def evaluate(
    predictor: Predictor,
    cases: Sequence[Case],
    bootstrap: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Runs a bundle on cases exactly as it serves: bytes in, result out."""
    spec = predictor.spec
    predictions, truths = [], []
    for number, case in enumerate(cases, start=1):
        # Decoded inputs of a whole data set may not fit into memory.
        predictions.append(replace(predictor(case.input.read_bytes()), prepared=None, sample=None))
        truths.append(spec.score.truth(case.truth))
        on_progress(number, len(cases))
    results = [prediction.result for prediction in predictions]
    table = pd.DataFrame(
        [
            {
                "case": case.id,
                "origin": case.origin,
                **case.attributes,
                "score": spec.score.score([prediction.result], [truth]),
                **{f"image.{k}": v for k, v in prediction.image_statistics.items()},
                **{f"prediction.{k}": v for k, v in prediction.prediction_statistics.items()},
                "embedding": [float(x) for x in prediction.embedding],
            }
            for case, prediction, truth in zip(cases, predictions, truths, strict=True)
        ]
    )
    return Evaluation(
        per_case=table,
        score=score_with_interval(spec, results, truths, bootstrap, [case.group for case in cases]),
        slices=slice_scores(spec, cases, results, truths, bootstrap),
        predictions=predictions,
        truths=truths,
        cases=cases,
    )


class DecodedCases(Sequence[DecodedCase]):
    """Cases and their truths. Each is decoded and preprocessed when it is asked for, and kept while `MEMORY` has room:
    every epoch and every variant asks again."""

    def __init__(self, spec: ModelSpec, cases: Sequence[Case], constants: Mapping[str, Any]) -> None:
        self._spec, self._cases, self._constants = spec, cases, constants
        self._kept: dict[int, DecodedCase] = {}
        self._room = MEMORY
        self.truths = [spec.score.truth(case.truth) for case in cases]

    def __len__(self) -> int:
        return len(self._cases)

    def __getitem__(self, row: Any) -> Any:
        if row in self._kept:
            return self._kept[row]
        case, part = self._cases[row], self._spec.inference
        sample = part.decode(case.input.read_bytes(), MAX_CASE_VOXELS)
        one = DecodedCase(case, sample, part.preprocess(sample, self._constants), self.truths[row])
        size = one.prepared.batch.nbytes + sum(
            v.nbytes for v in getattr(sample, "__dict__", {}).values() if isinstance(v, np.ndarray)
        )
        if size <= self._room:
            self._kept[row] = one
            self._room -= size
        return one


def results_of(
    spec: ModelSpec,
    session: Callable[[FloatArray], Mapping[str, np.ndarray]],
    held: Sequence[DecodedCase],
    thresholds: Mapping[str, Any],
) -> list[Any]:
    """The results of a network; small cases share a batch."""
    results: list[Any] = []
    for group in _groups(held):
        sizes = [len(one.prepared.batch) for one in group]
        # A picture without a face is an empty batch; a row of zeros still gives the shapes of the outputs.
        batch = np.concatenate([one.prepared.batch for one in group])
        outputs = session(batch if len(batch) else np.zeros((1, *batch.shape[1:]), np.float32))
        for one, end, size in zip(group, np.cumsum(sizes), sizes, strict=True):
            part = {name: value[end - size : end] for name, value in outputs.items()}
            results.append(spec.inference.postprocess(part, one.prepared, thresholds))
    return results


def validator(
    spec: ModelSpec, cases: Sequence[Case], constants: Mapping[str, Any], thresholds: Mapping[str, Any]
) -> Callable[[Callable[[FloatArray], Mapping[str, np.ndarray]]], float]:
    """A function that scores a network on these cases, with the model's own postprocessing: the metric as served."""
    decoded = DecodedCases(spec, cases, constants)
    return lambda session: spec.score.score(results_of(spec, session, decoded, thresholds), decoded.truths)


def _groups(held: Sequence[DecodedCase]) -> Iterator[list[DecodedCase]]:
    """Consecutive cases of at most `CHUNK` rows together; a larger case stands alone."""
    group: list[DecodedCase] = []
    room = CHUNK
    for one in held:
        size = len(one.prepared.batch)
        if group and size > room:
            yield group
            group, room = [], CHUNK
        group.append(one)
        room -= size
    if group:
        yield group


def score_with_interval(
    spec: ModelSpec, results: Sequence[Any], truths: Sequence[Any], bootstrap: int, groups: Sequence[str] = ()
) -> Score:
    """The metric with its 95 % percentile bootstrap interval over cases (Efron 1979), or over groups of them.

    Args:
        groups: `Case.group` of each case; (): each stands alone.
    """
    value = spec.score.score(results, truths)
    drawn = [_score_of(spec, results, truths, rows) for rows in resamples_of(spec, truths, bootstrap, groups)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Score(value=value, low=float(low), high=float(high), cases=len(results))


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


def rows_by_group(groups: Sequence[str]) -> list[NDArray[np.int64]]:
    """Row numbers, int64, of each group, and of each case without a group."""
    found: dict[str | int, list[int]] = {}
    for row, group in enumerate(groups):
        found.setdefault(group or row, []).append(row)
    return [np.array(rows, np.int64) for rows in found.values()]


def resamples_of(
    spec: ModelSpec, truths: Sequence[Any], bootstrap: int, groups: Sequence[str] = ()
) -> Sequence[NDArray[np.int64]]:
    """`resamples` of cases with these truths: one int64 [cases drawn] per sample.

    If cases have groups, whole groups are drawn (cluster bootstrap, Davison and Hinkley 1997, section 3.8). Pictures of
    one patient are not independent, and an interval over single pictures would be too narrow.
    """
    positive = np.array([spec.score.positive(truth) for truth in truths], dtype=bool)
    if not any(groups):
        return list(resamples(len(truths), bootstrap, positive))
    together = rows_by_group(groups)
    some = np.array([positive[rows].any() for rows in together], dtype=bool)
    return [np.concatenate([together[n] for n in drawn]) for drawn in resamples(len(together), bootstrap, some)]


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


def slice_scores(
    spec: ModelSpec, cases: Sequence[Case], results: Sequence[Any], truths: Sequence[Any], bootstrap: int
) -> dict[str, Score]:
    scores = {
        name: score_with_interval(
            spec,
            [results[r] for r in rows],
            [truths[r] for r in rows],
            bootstrap,
            [cases[r].group for r in rows],
        )
        for name, rows in slices(cases).items()
    }
    classes = spec.score.per_class(results, truths)
    drawn = [
        spec.score.per_class([results[i] for i in rows], [truths[i] for i in rows])
        for rows in (_resamples_for_classes(cases, min(bootstrap, 200)) if classes else ())
    ]
    for name, value in classes.items():
        # A resample may hold no case of a class.
        low, high = np.quantile([one.get(name, value) for one in drawn], (0.025, 0.975))
        scores[f"class={name}"] = Score(value=value, low=float(low), high=float(high), cases=len(results))
    return scores


def _resamples_for_classes(cases: Sequence[Case], bootstrap: int) -> Sequence[NDArray[np.int64]]:
    together = rows_by_group([case.group for case in cases])
    return [np.concatenate([together[n] for n in drawn]) for drawn in resamples(len(together), bootstrap)]


def representative_cases(cases: Sequence[Case], count: int) -> list[Case]:
    """Up to `count` cases that together cover as many slices as possible."""
    chosen: list[int] = []
    groups = list(slices(cases).values())
    while len(chosen) < min(count, len(cases)):
        before = len(chosen)
        for rows in groups:
            left = [row for row in rows if row not in chosen]
            if left and len(chosen) < count:
                chosen.append(left[0])
        if len(chosen) == before:
            break
    return [cases[row] for row in sorted(chosen)]


def _score_of(spec: ModelSpec, results: Sequence[Any], truths: Sequence[Any], rows: NDArray[np.int64]) -> float:
    return spec.score.score([results[i] for i in rows], [truths[i] for i in rows])
