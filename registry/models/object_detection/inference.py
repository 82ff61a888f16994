"""Bytes -> picture or clip -> network input -> objects, each with its class, box and score; in a clip also followed."""

from __future__ import annotations

from registry.models.object_detection import SPEC
from registry.vision.statistics import PLAUSIBLE
from registry.vision_tasks import clips, detection
from registry.vision_tasks.clips import decode, image_statistics
from registry.vision_tasks.detection import evidence, focus, preprocess

__all__ = ["PLAUSIBLE", "decode", "evidence", "focus", "follow", "image_statistics", "postprocess", "preprocess"]

postprocess = detection.naming(SPEC.classes)
follow = clips.follower(preprocess, postprocess, image_statistics)
