"""Mean average precision as COCO defines it (Lin 2014, arXiv:1405.0312; pycocotools' `COCOeval`).

Detections are matched greedily, best score first, to the free true box that they overlap most; precision is made
monotone and read at 101 recalls; classes that have a true box count alike. Unlike COCO, all of a picture's boxes
count, not the first hundred.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from registry.boxes.detection import Detections, overlaps
from registry.boxes.labels import TrueBoxes
from registry.contract.curves import PrecisionRecall, of_hits
from registry.core.media import FloatArray
from registry.core.memo import remembered

COCO_IOUS = tuple(round(0.5 + 0.05 * n, 2) for n in range(10))
RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True, eq=False)
class Matches:
    """One picture's detections, judged.

    Attributes:
        scores: float32 [N]; classes: int64 [N].
        hits: bool [N, 10], whether it found a true box at each of `COCO_IOUS`.
        true_classes: int64 [T] of the true boxes.
        clean: whether nothing is shown.
    """

    scores: FloatArray
    classes: NDArray[np.int64]
    hits: NDArray[np.bool_]
    true_classes: NDArray[np.int64]
    clean: bool


@remembered
def match(result: Detections, true: TrueBoxes) -> Matches:
    """Judges one picture."""
    return Matches(result.scores, result.classes, _hits(result, true), true.classes, clean=not len(result.shown))


def _hits(result: Detections, true: TrueBoxes) -> NDArray[np.bool_]:
    hits = np.zeros((len(result), len(COCO_IOUS)), dtype=bool)
    iou = overlaps(result.boxes, true.pixels(result.width, result.height))
    iou[result.classes[:, None] != true.classes[None, :]] = 0
    near = np.flatnonzero(iou.max(axis=1, initial=0) >= COCO_IOUS[0] - 1e-6)  # the others find nothing at any IoU
    for column, least in enumerate(COCO_IOUS):
        free = np.ones(len(true.classes), dtype=bool)
        for row in near:  # best score first, as results are sorted
            best = int(np.where(free, iou[row], -1).argmax())
            if free[best] and iou[row, best] >= least - 1e-6:
                free[best], hits[row, column] = False, True
    return hits


class _Pool:
    """All detections of a set of pictures, sorted once; a bootstrap sample is then a weight per picture."""

    def __init__(self, pictures: Sequence[Matches]) -> None:
        self.pictures = tuple(dict.fromkeys(pictures))
        self.index = {id(one): n for n, one in enumerate(self.pictures)}
        owner = np.repeat(np.arange(len(self.pictures)), [len(one.scores) for one in self.pictures])
        scores = np.concatenate([one.scores for one in self.pictures])
        classes = np.concatenate([one.classes for one in self.pictures])
        order = np.lexsort((-scores.astype(np.float64), classes))
        self.owner = owner[order]
        self.hits = np.concatenate([one.hits for one in self.pictures])[order]
        sorted_classes = classes[order]
        true = np.concatenate([one.true_classes for one in self.pictures])
        self.true_classes = true
        self.true_owner = np.repeat(np.arange(len(self.pictures)), [len(one.true_classes) for one in self.pictures])
        present = np.unique(true)
        first, last = (np.searchsorted(sorted_classes, present, side) for side in ("left", "right"))
        self.spans = {int(n): (int(a), int(b)) for n, a, b in zip(present, first, last, strict=True)}

    def weights(self, pictures: Sequence[Matches]) -> NDArray[np.int64] | None:
        """How often each of the pool's pictures is among `pictures`; None if one is not of the pool."""
        at = [self.index.get(id(one), -1) for one in pictures]
        return None if min(at) < 0 else np.bincount(at, minlength=len(self.pictures))

    def precisions(self, weights: NDArray[np.int64], columns: Sequence[int]) -> dict[int, float]:
        """Average precision of each class that has a true box, over `columns` of `COCO_IOUS`."""
        there = np.bincount(self.true_classes, weights[self.true_owner]) if len(self.true_classes) else np.zeros(0)
        found = {}
        for number, (first, last) in self.spans.items():
            if there[number]:
                weight = weights[self.owner[first:last]][:, None]
                hits = self.hits[first:last, columns]
                found[number] = _average_precision(hits * weight, weight, float(there[number]))
        return found


def _average_precision(hits: NDArray[np.int64], weight: NDArray[np.int64], there: float) -> float:
    """`hits` [N, I] and `weight` [N, 1] count detections in falling order of score; `there`: true boxes."""
    if not len(hits):
        return 0.0
    right = np.cumsum(hits, axis=0)
    precision = right / np.maximum(np.cumsum(weight, axis=0), 1)
    precision = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    total = 0.0
    for column in range(hits.shape[1]):
        at = np.searchsorted(right[:, column] / there, RECALLS, side="left")
        total += precision[at[at < len(hits)], column].sum() / len(RECALLS)
    return float(total / hits.shape[1])


_last: _Pool | None = None  # bootstraps come in runs over the same pictures


def _precisions(results: Sequence[Detections], truths: Sequence[TrueBoxes], iou: float | None) -> dict[int, float]:
    global _last
    columns = range(len(COCO_IOUS)) if iou is None else [COCO_IOUS.index(iou)]
    pictures = [match(result, true) for result, true in zip(results, truths, strict=True)]
    pool = _last
    weights = pool.weights(pictures) if pool is not None and len(pictures) > 1 else None
    if pool is None or weights is None:
        pool = _Pool(pictures)
        if len(pictures) > 1:
            _last = pool
        weights = pool.weights(pictures)
        assert weights is not None
    return pool.precisions(weights, list(columns))


def score(results: Sequence[Detections], truths: Sequence[TrueBoxes], iou: float | None = 0.5) -> float:
    """Mean average precision at `iou` (one of `COCO_IOUS`), or averaged over all of them (None): mAP50-95.

    Where no picture has a true box, the share of pictures in which nothing is shown: a negative can be got right.

    Raises:
        ValueError: no cases, or another `iou`.
    """
    if not results:
        raise ValueError("average precision of no cases is not defined")
    found = _precisions(results, truths, iou)
    if found:
        return float(np.mean(list(found.values())))
    return float(np.mean([match(result, true).clean for result, true in zip(results, truths, strict=True)]))


def per_class(results: Sequence[Detections], truths: Sequence[TrueBoxes], iou: float | None = 0.5) -> dict[str, float]:
    """Average precision of each class that has a true box; {} for a detector of one class."""
    if not results or len(results[0].names) < 2:
        return {}
    names = results[0].names
    found = _precisions(results, truths, iou)
    return {names[number]: value for number, value in found.items() if number < len(names)}


def curve(results: Sequence[Detections], truths: Sequence[TrueBoxes]) -> PrecisionRecall:
    """A box is right where it overlaps a free true box of its class by half, the best score first."""
    pictures = [match(result, true) for result, true in zip(results, truths, strict=True)]
    scores = np.concatenate([one.scores for one in pictures] or [np.zeros(0, np.float32)])
    hits = np.concatenate([one.hits[:, 0] for one in pictures] or [np.zeros(0, bool)])
    return of_hits(scores, hits, len(pictures), sum(len(one.true_classes) for one in pictures))
