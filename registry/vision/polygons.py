"""Draws things made of polygons, for starter data.

Bit-identical on every machine: drawn in fixed point, at twice the size, and averaged to smooth edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from registry.core.media import ByteArray

Points = Sequence[tuple[float, float]]
Colour = tuple[float, float, float]
"""BGR, 0..255."""

FINE = 2  # drawn pixels per shown pixel, along each axis
_BITS = 4  # fractional bits of a coordinate: integers draw the same pixels on every machine


@dataclass(frozen=True)
class Part:
    """A filled polygon, or an open line.

    Attributes:
        points: float64 [K, 2], x and y in the thing's own unit, y pointing down.
        pen: width of the line in that unit; 0 for a filled polygon.
    """

    points: NDArray[np.float64]
    colour: Colour
    pen: float = 0.0


def draw_parts(
    rng: np.random.Generator,
    parts: Sequence[Part],
    matrix: NDArray[np.float64],
    offset: NDArray[np.float64],
    width: int,
    height: int,
) -> tuple[ByteArray, NDArray[np.float32]]:
    """Draws a thing into a picture of its own, with random light from above to below.

    Args:
        parts: painted in this order.
        matrix: float64 [2, 2], the thing's unit -> pixels.
        offset: float64 [2], added to that, in pixels.

    Returns:
        How much of each pixel is covered, uint8 [height, width], 255 for all of it; and its colour, float32 [height,
        width, 3] BGR, which may exceed 255.
    """
    mask = np.zeros((height * FINE, width * FINE), dtype=np.uint8)
    colours = np.zeros((height * FINE, width * FINE, 3), dtype=np.uint8)
    scale = FINE * float(np.sqrt(abs(np.linalg.det(matrix))))
    for part in parts:
        at = np.rint((part.points @ matrix.T + offset) * FINE * (1 << _BITS)).astype(np.int32)
        for canvas, ink in ((mask, (255,)), (colours, tuple(round(v) for v in part.colour))):
            if part.pen:
                cv2.polylines(canvas, [at], False, ink, max(1, round(part.pen * scale)), cv2.LINE_8, _BITS)
            else:
                cv2.fillPoly(canvas, [at], ink, cv2.LINE_8, _BITS)
    covered = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
    # Divide by the cover: undrawn pixels are black and would darken every edge.
    mixed = cv2.resize(colours, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    mixed /= np.maximum(covered.astype(np.float32) / np.float32(255), np.float32(0.25))[:, :, None]
    top, bottom = (float(v) for v in rng.uniform(0.8, 1.25, 2))
    light = np.linspace(top, bottom, height, dtype=np.float32)[:, None, None]
    return covered, np.asarray(mixed * light, dtype=np.float32)
