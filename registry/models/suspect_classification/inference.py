"""Picture -> class. Training, evaluation and serving all go through here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from registry.core.media import Parameters, Prepared
from registry.models.suspect_classification import SPEC
from registry.vision.picture import decode
from registry.vision.statistics import PLAUSIBLE, image_statistics
from registry.vision_tasks import classification
from registry.vision_tasks.classification import Ranking, evidence, focus, preprocess

__all__ = ["PLAUSIBLE", "decode", "evidence", "focus", "image_statistics", "postprocess", "preprocess"]

DEFAULTS: dict[str, Any] = {"image_size": 72}


def postprocess(outputs: Mapping[str, np.ndarray], prepared: Prepared, thresholds: Parameters) -> Ranking:
    """Output `logits` float32 [1, 9] -> a ranking of the nine classes."""
    return classification.postprocess(outputs, prepared, SPEC.classes)
