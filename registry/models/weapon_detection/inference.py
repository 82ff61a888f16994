"""Bytes -> picture or clip -> network input -> firearms, each with its box and score; in a clip also followed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from registry.media import Clip, Picture, Prepared
from registry.models.weapon_detection import SPEC
from registry.parts import Parameters
from registry.vision import clips, detection, statistics
from registry.vision.detection import Detections, evidence, focus, preprocess

__all__ = ["PLAUSIBLE", "decode", "evidence", "focus", "follow", "image_statistics", "postprocess", "preprocess"]

PLAUSIBLE = statistics.PLAUSIBLE


def decode(body: bytes, max_voxels: int) -> Picture | Clip:
    """A picture or a video, whichever the file is. Raises as `registry.vision.clips.decode`."""
    return clips.decode(body, max_voxels)


def postprocess(outputs: Mapping[str, np.ndarray], prepared: Prepared, thresholds: Parameters) -> Detections:
    """As `registry.vision.detection.postprocess`, with this model's classes."""
    return detection.postprocess(outputs, prepared, thresholds, SPEC.classes)


def image_statistics(sample: Picture | Clip) -> dict[str, float]:
    """As `registry.vision.statistics`; of a clip its first frame's."""
    return statistics.picture_statistics(clips.glimpse(sample).pixels)


follow = clips.follower(preprocess, postprocess, image_statistics)
