"""Frames of a clip with what was found drawn in, and a sheet of some of them for people."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from registry.boxes.detection import Detections
from registry.core.media import ByteArray
from registry.video.video import Frame
from registry.vision import drawing

TILE = 426
"""Longer side of a frame on the sheet, pixels."""


def annotate(pixels: ByteArray, found: Detections, ids: NDArray[np.int64]) -> ByteArray:
    """uint8 [H, W, 3] BGR with boxes, classes, scores and track ids drawn in."""
    labels = [
        f"{found.names[kind]} {100 * score:.0f} %" + (f" #{track}" if track else "")
        for kind, score, track in zip(found.classes.tolist(), found.scores.tolist(), ids.tolist(), strict=True)
    ]
    return drawing.draw_boxes(pixels, found.boxes, labels, found.classes.tolist())


def tile(frame: Frame, found: Detections, ids: NDArray[np.int64]) -> ByteArray:
    height, width = frame.pixels.shape[:2]
    scale = TILE / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(frame.pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    boxes = (found.boxes * np.float32(scale)).astype(np.float32)
    scaled = replace(found, boxes=boxes, width=size[0], height=size[1])
    minutes, seconds = divmod(frame.at, 60)
    drawn = annotate(np.asarray(small, dtype=np.uint8), scaled, ids)
    return drawing.add_legend(drawn, (), f"frame {frame.number}, {minutes:.0f}:{seconds:04.1f}")


def sheet(tiles: list[ByteArray]) -> ByteArray:
    """Tiles of one size side by side, three to a row."""
    height, width = tiles[0].shape[:2] if tiles else (1, 1)
    across = min(3, max(1, len(tiles)))
    down = max(1, -(-len(tiles) // across))
    gap = 6
    canvas = np.full((down * (height + gap) + gap, across * (width + gap) + gap, 3), drawing.INK, dtype=np.uint8)
    for n, tile in enumerate(tiles):
        top, left = gap + n // across * (height + gap), gap + n % across * (width + gap)
        canvas[top : top + height, left : left + width] = tile
    return canvas
