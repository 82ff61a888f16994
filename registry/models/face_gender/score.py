"""Accuracy per found face. How many faces are found is reported beside it: `face_recall`, `face_precision`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from registry.boxes.detection import overlaps
from registry.boxes.labels import BoxLabels, TrueBoxes
from registry.contract.curves import PrecisionRecall, of_hits
from registry.core.media import Picture
from registry.core.memo import remembered
from registry.models.face_gender.inference import Faces

MATCH_IOU = 0.3
"""Of a found and a true face. Labels enclose now the face, now the whole head: a found box whose centre lies in the
true one and that is not larger counts, too."""


@dataclass(frozen=True)
class Counts:
    """Of one picture, by class: int64 [C] true faces, found ones among them, rightly labelled ones; and all found."""

    true: NDArray[np.int64]
    matched: NDArray[np.int64]
    right: NDArray[np.int64]
    found: int


def match(boxes: NDArray[np.float32], true: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Pairs (found, true) of boxes [F, 4] and [T, 4], each at most once, those that overlap most first."""
    if not len(boxes) or not len(true):
        return []
    iou = overlaps(boxes, true)
    middle = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    within = ((middle >= true[None, :, :2]) & (middle <= true[None, :, 2:])).all(axis=2)
    area_found, area_true = ((b[:, 2:] - b[:, :2]).prod(axis=1) for b in (boxes, true))
    fits = (iou >= MATCH_IOU) | (within & (area_found[:, None] <= area_true[None]))
    pairs: list[tuple[int, int]] = []
    for f, t in sorted(zip(*np.nonzero(fits), strict=True), key=lambda pair: -iou[pair]):
        if all(f != a and t != b for a, b in pairs):
            pairs.append((int(f), int(t)))
    return pairs


@remembered
def counts(result: Faces, true: TrueBoxes) -> Counts:
    """Of one picture."""
    classes = len(result.names)
    pairs = match(result.boxes, true.pixels(result.width, result.height))
    said = result.classes
    found = np.array([true.classes[t] for _, t in pairs], np.int64)
    right = np.array([true.classes[t] for f, t in pairs if said[f] == true.classes[t]], np.int64)
    of_true, of_found, of_right = (np.bincount(one, minlength=classes) for one in (true.classes, found, right))
    return Counts(of_true, of_found, of_right, len(result))


def _total(results: Sequence[Faces], truths: Sequence[TrueBoxes]) -> Counts:
    each = [counts(result, true) for result, true in zip(results, truths, strict=True)]
    return Counts(
        np.sum([c.true for c in each], axis=0),
        np.sum([c.matched for c in each], axis=0),
        np.sum([c.right for c in each], axis=0),
        sum(c.found for c in each),
    )


class FaceScore(BoxLabels):
    """Accuracy over found faces; recall and precision of the detector beside it."""

    def result_of(self, truth: TrueBoxes, sample: Picture) -> Faces:
        """What a perfect model answers."""
        boxes = truth.pixels(sample.width, sample.height)
        sure = np.eye(len(self.classes), dtype=np.float32)[truth.classes]
        return Faces(boxes, np.ones(len(boxes), np.float32), sure, self.classes, sample.width, sample.height)

    def score(self, results: Sequence[Faces], truths: Sequence[TrueBoxes]) -> float:
        """Share of the found true faces that have the right label, over all pictures together.

        0 where no true face was found, 1 where there was none to find. Raises ValueError if there is no picture.
        """
        if not results:
            raise ValueError("the accuracy of no pictures is not defined")
        total = _total(results, truths)
        if total.matched.sum():
            return float(total.right.sum() / total.matched.sum())
        return 0.0 if total.true.sum() else 1.0

    def per_class(self, results: Sequence[Faces], truths: Sequence[TrueBoxes]) -> dict[str, float]:
        """Accuracy on the found faces of each label; `face_recall`, the share of true faces that were found; and
        `face_precision`, the share of found faces that are true ones."""
        if not results:
            return {}
        total = _total(results, truths)
        said = {
            name: float(total.right[n] / total.matched[n])
            for n, name in enumerate(results[0].names)
            if total.matched[n]
        }
        if total.true.sum():
            said["face_recall"] = float(total.matched.sum() / total.true.sum())
        if total.found:
            said["face_precision"] = float(total.matched.sum() / total.found)
        return said

    def curve(self, results: Sequence[Faces], truths: Sequence[TrueBoxes]) -> PrecisionRecall:
        """Of the detector's confidences: a box is right where it is a true face, whatever gender is read."""
        hits = []
        for result, true in zip(results, truths, strict=True):
            found = {f for f, _ in match(result.boxes, true.pixels(result.width, result.height))}
            hits += [number in found for number in range(len(result))]
        scores = np.concatenate([one.confidences for one in results] or [np.zeros(0, np.float32)])
        return of_hits(scores, np.array(hits, bool), len(results), sum(len(one.classes) for one in truths))
