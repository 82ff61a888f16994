"""Mean average precision at an overlap of one half (mAP50)."""

from __future__ import annotations

from pathlib import Path

from registry.core.media import Picture
from registry.models.weapon_detection import SPEC
from registry.vision_tasks import mean_ap
from registry.vision_tasks.detection import Detections
from registry.vision_tasks.mean_ap import LABEL, TrueBoxes, per_class, positive, score

__all__ = ["LABEL", "check", "per_class", "positive", "result_of", "score", "truth"]


def truth(label: Path | bytes | str) -> TrueBoxes:
    """Boxes of this model's classes. Raises BadInput, as `mean_ap.truth`."""
    return mean_ap.truth(label, SPEC.classes)


def check(label: bytes | str, body: bytes) -> None:
    """As `registry.contract.parts.ScorePart.check`: shares fit a picture of any size."""
    mean_ap.check(label, SPEC.classes)


def result_of(truth: TrueBoxes, sample: Picture) -> Detections:
    """What a perfect model answers."""
    return mean_ap.result_of(truth, sample, SPEC.classes)
