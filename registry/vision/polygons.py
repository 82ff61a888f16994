"""Things made of polygons, for starter data. Bit-identical everywhere: drawn in fixed point, and twice as large as
they are shown; averaging makes edges without steps."""

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

FINE = 2  # pixels drawn for one that is shown, along each axis
_BITS = 4  # of a coordinate behind the point: whole numbers draw the same pixels everywhere


@dataclass(frozen=True)
class Part:
    """A filled polygon, or with `pen` an open line of that width.

    Attributes:
        points: float64 [K, 2], x and y in the thing's own unit, y pointing down.
        pen: in that unit; 0: filled.
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
    """A thing in a picture of its own, lit from above or below as `rng` has it.

    Args:
        parts: painted in their order.
        matrix: float64 [2, 2], units -> pixels; offset: float64 [2], pixels, added to that.

    Returns:
        The share of each pixel that is covered, uint8 [height, width], 255 for all of it; and its colour, float32
        [height, width, 3] BGR, which may be above 255.
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
    # What is not drawn is black: divided out, or every edge would be dark.
    mixed = cv2.resize(colours, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    mixed /= np.maximum(covered.astype(np.float32) / np.float32(255), np.float32(0.25))[:, :, None]
    top, bottom = (float(v) for v in rng.uniform(0.8, 1.25, 2))
    light = np.linspace(top, bottom, height, dtype=np.float32)[:, None, None]
    return covered, np.asarray(mixed * light, dtype=np.float32)
