"""Precision and recall of boxes at every score: what a person gives up, and gets, by moving the threshold."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from registry.core.media import FloatArray

CURVE = "precision_recall.json"
"""In a bundle: the curve of the test cases, where boxes have scores."""
STEPS = 100


@dataclass(frozen=True)
class PrecisionRecall:
    """Measured over all classes together, a point for each score from 0 to 1 in steps of a hundredth.

    Attributes:
        precision: share of the boxes with at least that score that are true ones; None where there is no such box.
        recall: share of the true boxes that have such a box; None where there is no true box.
        cases, objects: pictures, and true boxes in them.
    """

    precision: tuple[float | None, ...]
    recall: tuple[float | None, ...]
    cases: int
    objects: int

    def write(self, folder: Path) -> None:
        (folder / CURVE).write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")


def read(folder: Path) -> PrecisionRecall | None:
    """The curve of a bundle; None where none was measured."""
    try:
        found = json.loads((folder / CURVE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return PrecisionRecall(tuple(found["precision"]), tuple(found["recall"]), found["cases"], found["objects"])


def of_hits(scores: FloatArray, hits: NDArray[np.bool_], cases: int, objects: int) -> PrecisionRecall:
    """Of all found boxes: their scores, float [N], and whether each found a true one, bool [N]."""
    order = np.argsort(-scores, kind="stable")
    right = np.concatenate([[0], np.cumsum(hits[order])])
    steps = np.arange(STEPS + 1) / STEPS
    found = np.searchsorted(-scores[order].astype(np.float64), -steps + 1e-7, side="right")
    return PrecisionRecall(
        tuple(round(float(right[n] / n), 4) if n else None for n in found.tolist()),
        tuple(round(float(right[n] / objects), 4) if objects else None for n in found.tolist()),
        cases,
        objects,
    )
