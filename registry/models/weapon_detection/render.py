"""Boxes with class and score, drawn over the picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from registry.media import Picture
from registry.vision import detection
from registry.vision.detection import Detections
from registry.vision.mean_ap import TrueBoxes
from registry.vision.picture import to_jpeg


def picture(sample: Picture, result: Detections | None = None, truth: TrueBoxes | None = None) -> bytes:
    """A JPEG: found objects in their class's colour, true ones dashed and green."""
    true = truth.pixels(sample.width, sample.height) if truth is not None else None
    return to_jpeg(detection.drawn(sample.pixels, result, true))


FORMATS: Mapping[str, Callable[[Picture, Detections], bytes]] = {"image/jpeg": picture}
