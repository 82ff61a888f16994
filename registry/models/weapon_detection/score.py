"""Mean average precision at an overlap of one half (mAP50)."""

from __future__ import annotations

from registry.media import Picture
from registry.models.weapon_detection import SPEC
from registry.vision import mean_ap
from registry.vision.detection import Detections
from registry.vision.mean_ap import TrueBoxes, per_class, score, truth

__all__ = ["per_class", "result_of", "score", "truth"]


def result_of(truth: TrueBoxes, sample: Picture) -> Detections:
    """What a perfect model answers."""
    return mean_ap.result_of(truth, sample, SPEC.classes)
