"""Mean average precision over overlaps from 0.5 to 0.95 (COCO's mAP50-95), and at 0.5 beside it."""

from __future__ import annotations

from collections.abc import Sequence

from registry.media import Picture
from registry.models.object_detection import SPEC
from registry.vision import mean_ap
from registry.vision.detection import Detections
from registry.vision.mean_ap import TrueBoxes, truth

__all__ = ["per_class", "result_of", "score", "truth"]


def score(results: Sequence[Detections], truths: Sequence[TrueBoxes]) -> float:
    """mAP50-95 over the classes that occur."""
    return mean_ap.score(results, truths, None)


def per_class(results: Sequence[Detections], truths: Sequence[TrueBoxes]) -> dict[str, float]:
    """The same, class by class."""
    return mean_ap.per_class(results, truths, None)


def result_of(truth: TrueBoxes, sample: Picture) -> Detections:
    """What a perfect model answers."""
    return mean_ap.result_of(truth, sample, SPEC.classes)
