"""Runs networks and versions on labelled cases. Variants, bundles and the gate are all scored here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from registry.contract.spec import ModelSpec
from registry.core.media import MAX_CASE_VOXELS, Case, FloatArray, Prediction, Prepared
from registry.versions.bundle import Score
from registry.versions.predictor import CHUNK, Predictor
from training.workspace.intervals import score_with_interval, slice_scores, slices

MEMORY = 250_000_000
"""Bytes of prepared cases to keep in memory; the others are decoded again for each epoch and variant."""


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """A case as the network takes it. Its decoded input may be a hundred times as large, and is not kept."""

    case: Case
    prepared: Prepared
    truth: Any


def decoded(spec: ModelSpec, case: Case) -> Any:
    """The sample of a case. Those of a whole data set may not fit into memory."""
    return spec.inference.decode(case.input.read_bytes(), MAX_CASE_VOXELS)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The evaluation of a version.

    Attributes:
        per_case: one row per case: `case`, `origin`, `score`, a column per attribute, and the columns that drift tests
            compare (`image.*`, `prediction.*`, `embedding`).
        score: over all cases.
        slices: by origin and by each attribute, e.g. `origin=starter`; `class=...` if there are several classes.
        predictions: in the order of `per_case`, without samples; `decoded` gives one again.
        truths: in the same order.
    """

    per_case: pd.DataFrame
    score: Score
    slices: dict[str, Score]
    predictions: list[Prediction]
    truths: list[Any]


def evaluate(
    predictor: Predictor,
    cases: Sequence[Case],
    bootstrap: int,
    on_progress: Callable[[int, int, str], None] = lambda done, total, note: None,
) -> Evaluation:
    """Runs a bundle on cases exactly as it serves: bytes in, result out."""
    spec = predictor.spec
    predictions, truths = [], []
    for number, case in enumerate(cases, start=1):
        found = predictor(case.input.read_bytes())
        predictions.append(replace(found, prepared=None, sample=None, result=spec.score.compact(found.result)))
        truths.append(spec.score.compact(spec.score.truth(case.truth)))
        on_progress(number, len(cases), "")
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
    )


class PreparedCases(Sequence[PreparedCase]):
    """Cases and their truths. Each is decoded and preprocessed when it is asked for, and kept while `MEMORY` has room:
    every epoch and every variant asks again."""

    def __init__(self, spec: ModelSpec, cases: Sequence[Case], constants: Mapping[str, Any]) -> None:
        self._spec, self._cases, self._constants = spec, cases, constants
        self._kept: dict[int, PreparedCase] = {}
        self._room = MEMORY
        self.truths = [spec.score.compact(spec.score.truth(case.truth)) for case in cases]

    def __len__(self) -> int:
        return len(self._cases)

    def __getitem__(self, row: Any) -> Any:
        if row in self._kept:
            return self._kept[row]
        case = self._cases[row]
        prepared = self._spec.inference.preprocess(decoded(self._spec, case), self._constants)
        one = PreparedCase(case, prepared, self.truths[row])
        size = _bytes_of(prepared)
        if size <= self._room:
            self._kept[row] = one
            self._room -= size
        return one


def _bytes_of(value: Any) -> int:
    """Of all arrays in it: a prepared case's are its batch, and what postprocessing needs of the input."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    parts = value if isinstance(value, tuple) else getattr(value, "__dict__", {}).values()
    return sum(map(_bytes_of, parts))


def results_of(
    spec: ModelSpec,
    session: Callable[[FloatArray], Mapping[str, np.ndarray]],
    held: Sequence[PreparedCase],
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
            results.append(spec.score.compact(spec.inference.postprocess(part, one.prepared, thresholds)))
    return results


def validator(
    spec: ModelSpec, cases: Sequence[Case], constants: Mapping[str, Any], thresholds: Mapping[str, Any]
) -> Callable[[Callable[[FloatArray], Mapping[str, np.ndarray]]], float]:
    """A function that scores a network on these cases, with the model's own postprocessing: the metric as served."""
    held = PreparedCases(spec, cases, constants)
    return lambda session: spec.score.score(results_of(spec, session, held, thresholds), held.truths)


def _groups(held: Sequence[PreparedCase]) -> Iterator[list[PreparedCase]]:
    """Consecutive cases of at most `CHUNK` rows together; a larger case stands alone."""
    group: list[PreparedCase] = []
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
