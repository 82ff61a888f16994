"""Flat things made of polygons and lines, and where they are put in a picture.

A thing is a function of a random generator that gives its parts in the order of painting, in a unit of its own, x to
the right and y down. Bit-identical on every machine: drawn in fixed point, at twice the size, and averaged to smooth
edges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from registry.core.media import ByteArray
from registry.scenes.colours import Colour

Point = tuple[float, float]
Points = Sequence[Point] | NDArray[np.float64]
Matrix = NDArray[np.float64]

FINE = 2  # drawn pixels per shown pixel, along each axis
TRIES = 12
_BITS = 4  # fractional bits of a coordinate: integers draw the same pixels on every machine


@dataclass(frozen=True)
class Part:
    """A filled polygon, or an open line.

    Attributes:
        points: float64 [K, 2], x and y in the thing's own unit.
        pen: width of the line in that unit; 0 for a filled polygon.
    """

    points: NDArray[np.float64]
    colour: Colour
    pen: float = 0.0


Thing = Callable[[np.random.Generator], Iterable[Part]]


def fill(points: Points, colour: Colour) -> Part:
    """A polygon."""
    return Part(np.array(points, dtype=np.float64), colour)


def line(points: Points, pen: float, colour: Colour) -> Part:
    """A bent line, `pen` units wide."""
    return Part(np.array(points, dtype=np.float64), colour, pen)


def box(x1: float, y1: float, x2: float, y2: float, colour: Colour) -> Part:
    return fill([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], colour)


def round_box(x1: float, y1: float, x2: float, y2: float, colour: Colour) -> Part:
    """With corners cut by a fifth of the shorter side."""
    r = 0.2 * min(abs(x2 - x1), abs(y2 - y1))
    top, bottom = [(x1 + r, y1), (x2 - r, y1), (x2, y1 + r)], [(x2, y2 - r), (x2 - r, y2), (x1 + r, y2)]
    return fill([*top, *bottom, (x1, y2 - r), (x1, y1 + r)], colour)


def oval(
    x: float, y: float, across: float, down: float, colour: Colour, first: float = 0, last: float = 1, knots: int = 25
) -> Part:
    """An ellipse around (x, y) with its two radii, or the part of it between two turns: 0 is right, 0.25 below."""
    return fill(_ellipse(x, y, across, down, first, last, knots), colour)


def ring(x: float, y: float, across: float, down: float, pen: float, colour: Colour) -> Part:
    return line(_ellipse(x, y, across, down, 0, 1, 17), pen, colour)


def _ellipse(
    x: float, y: float, across: float, down: float, first: float, last: float, knots: int
) -> NDArray[np.float64]:
    turns = 2 * np.pi * np.linspace(first, last, knots)
    return np.stack([x + across * np.cos(turns), y + down * np.sin(turns)], axis=1)


def bar(a: Point, b: Point, width: float, colour: Colour, width_b: float | None = None) -> Part:
    """From `a` to `b`, `width` units wide; at `b` `width_b` if it is given."""
    p, q = np.array(a), np.array(b)
    along = (q - p) / max(float(np.hypot(*(q - p))), 1e-9)
    side = np.array([-along[1], along[0]]) / 2
    one, other = side * width, side * (width if width_b is None else width_b)
    return fill(np.array([p + one, q + other, q - other, p - one]), colour)


def corners(parts: Sequence[Part]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The least and the greatest x and y of a thing, float64 [2] each, in its unit."""
    points = np.concatenate([part.points for part in parts])
    return points.min(axis=0), points.max(axis=0)


def moved(parts: Iterable[Part], scale: float, shift: Sequence[float] | NDArray[np.float64] = (0, 0)) -> list[Part]:
    """The same thing `scale` times as large, then moved by `shift`, (x, y)."""
    return [Part(part.points * scale + np.asarray(shift), part.colour, part.pen * scale) for part in parts]


def fitted(parts: Iterable[Part]) -> list[Part]:
    """The same thing, its middle at the origin and its longer side from -1 to 1."""
    parts = list(parts)
    low, high = corners(parts)
    scale = 2 / float((high - low).max())
    return moved(parts, scale, -scale * (low + high) / 2)


def pose(length: float, turn: float, across: float = 1.0, down: float = 1.0, shear: float = 0.0) -> Matrix:
    """A thing's unit -> pixels, float64 [2, 2].

    Args:
        length: pixels of a unit.
        turn: radians clockwise.
        across, down: how much wider and taller it is seen; `across` below 0 mirrors it.
        shear: how far x moves for one unit of y.
    """
    c, s = np.cos(turn), np.sin(turn)
    turned = length * np.array([[c, -s], [s, c]]) @ np.array([[1.0, shear], [0.0, 1.0]])
    return np.asarray(turned @ np.diag([across, down]))


@dataclass(frozen=True, eq=False)
class Place:
    """Where a thing is put in a picture.

    Attributes:
        matrix, offset: float64 [2, 2] and [2]: the thing's unit -> pixels.
        box: float64 [4], (x1, y1, x2, y2) in pixels: around the part of it that lies in the picture.
    """

    matrix: Matrix
    offset: NDArray[np.float64]
    box: NDArray[np.float64]


def places(
    rng: np.random.Generator,
    parts: Sequence[Part],
    poses: Callable[[], Matrix],
    size: tuple[int, int],
    margin: float,
    least_inside: float,
) -> Iterator[Place]:
    """Some of TRIES places by chance: those with enough of the thing in the picture.

    Args:
        poses: gives the matrix of one try.
        size: width and height of the picture, pixels.
        margin: share of the picture, at each edge, in which the middle of no thing lies.
        least_inside: share of the thing's own box that the picture must show, and 8 pixels each way.
    """
    for _ in range(TRIES):
        matrix = poses()
        centre = np.array(size) * rng.uniform(margin, 1 - margin, 2)
        at = np.concatenate([part.points for part in parts]) @ matrix.T
        offset = centre - (at.min(axis=0) + at.max(axis=0)) / 2
        low, high = at.min(axis=0) + offset, at.max(axis=0) + offset
        first, last = np.maximum(low, 0), np.minimum(high, size)
        if (last - first).min() >= 8 and (last - first).prod() >= least_inside * (high - low).prod():
            yield Place(matrix, offset, np.concatenate([first, last]))


def draw_parts(
    rng: np.random.Generator,
    parts: Sequence[Part],
    matrix: Matrix,
    offset: NDArray[np.float64],
    size: tuple[int, int],
) -> tuple[ByteArray, NDArray[np.float32]]:
    """Draws a thing into a picture of its own, with random light from above to below.

    Args:
        matrix: float64 [2, 2], the thing's unit -> pixels.
        offset: float64 [2], added to that, in pixels.
        size: width and height in pixels.

    Returns:
        How much of each pixel is covered, uint8 [height, width], 255 for all of it; and its colour, float32 [height,
        width, 3] BGR, which may exceed 255.
    """
    width, height = size
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
    covered = cv2.resize(mask, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    # Divide by the cover: undrawn pixels are black and would darken every edge.
    mixed = cv2.resize(colours, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    mixed /= np.maximum(covered.astype(np.float32) / np.float32(255), np.float32(0.25))[:, :, None]
    top, bottom = (float(v) for v in rng.uniform(0.8, 1.25, 2))
    light = np.linspace(top, bottom, height, dtype=np.float32)[:, None, None]
    return covered, np.asarray(mixed * light, dtype=np.float32)


def seen_box(mask: ByteArray) -> tuple[float, float, float, float]:
    """(x1, y1, x2, y2) in pixels around what an annotator sees of a thing; `mask` as `draw_parts` gives it."""
    x, y, wide, tall = cv2.boundingRect((mask > 96).astype(np.uint8))
    return float(x), float(y), float(x + wide), float(y + tall)
