"""Mean average precision over overlaps from 0.5 to 0.95 (COCO's mAP50-95), and at 0.5 beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from registry.core.media import Picture
from registry.models.object_detection import SPEC
from registry.vision_tasks import mean_ap
from registry.vision_tasks.detection import Detections
from registry.vision_tasks.mean_ap import LABEL, TrueBoxes, positive

__all__ = ["LABEL", "check", "per_class", "positive", "result_of", "score", "truth"]


def score(results: Sequence[Detections], truths: Sequence[TrueBoxes]) -> float:
    """mAP50-95 over the classes that occur."""
    return mean_ap.score(results, truths, None)


def per_class(results: Sequence[Detections], truths: Sequence[TrueBoxes]) -> dict[str, float]:
    """The same, class by class."""
    return mean_ap.per_class(results, truths, None)


def truth(label: Path | bytes | str) -> TrueBoxes:
    """Boxes of this model's classes. Raises BadInput, as `mean_ap.truth`."""
    return mean_ap.truth(label, SPEC.classes)


def check(label: bytes | str, body: bytes) -> None:
    """As `registry.contract.parts.ScorePart.check`: shares fit a picture of any size."""
    mean_ap.check(label, SPEC.classes)


def result_of(truth: TrueBoxes, sample: Picture) -> Detections:
    """What a perfect model answers."""
    return mean_ap.result_of(truth, sample, SPEC.classes)
