"""Bytes -> picture -> network input -> firearms, each with its box and score. Training and serving go through here."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from registry.media import Picture, Prepared
from registry.models.weapon_detection import SPEC
from registry.parts import Parameters
from registry.vision import detection, statistics
from registry.vision.detection import Detections, evidence, focus, preprocess
from registry.vision.picture import decode

__all__ = ["PLAUSIBLE", "decode", "evidence", "focus", "image_statistics", "postprocess", "preprocess"]

PLAUSIBLE = statistics.PLAUSIBLE


def postprocess(outputs: Mapping[str, np.ndarray], prepared: Prepared, thresholds: Parameters) -> Detections:
    """As `registry.vision.detection.postprocess`, with this model's classes."""
    return detection.postprocess(outputs, prepared, thresholds, SPEC.classes)


def image_statistics(sample: Picture) -> dict[str, float]:
    """As `registry.vision.statistics`."""
    return statistics.picture_statistics(sample.pixels)
