"""Picture -> class. Training, evaluation and serving all go through here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from registry.media import Picture, Prepared
from registry.models.suspect_classification import SPEC
from registry.parts import Parameters
from registry.vision import classification, picture, statistics
from registry.vision.classification import Ranking, evidence, focus, preprocess

__all__ = ["PLAUSIBLE", "decode", "evidence", "focus", "image_statistics", "postprocess", "preprocess"]

DEFAULTS: dict[str, Any] = {"image_size": 72}
PLAUSIBLE: Mapping[str, tuple[float, float, str]] = statistics.PLAUSIBLE


def decode(body: bytes, max_voxels: int) -> Picture:
    """A picture file, as `registry.vision.picture.decode`; of `max_voxels` pixels at most."""
    return picture.decode(body, max_voxels)


def postprocess(outputs: Mapping[str, np.ndarray], prepared: Prepared, thresholds: Parameters) -> Ranking:
    """Output `logits` float32 [1, 9] -> a ranking of the nine classes."""
    return classification.postprocess(outputs, prepared, SPEC.classes)


def image_statistics(sample: Picture) -> dict[str, float]:
    """As `registry.vision.statistics.picture_statistics`."""
    return statistics.picture_statistics(sample.pixels)
