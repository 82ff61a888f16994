"""Draws a thing in its own coordinates (about -1..1, x right, y down), turned, scaled and mirrored into a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from registry.core.media import ByteArray

Colour = tuple[int, int, int]
"""BGR."""

Points = Sequence[tuple[float, float]]
_SHIFT = 4  # fixed-point bits of OpenCV's drawing: whole numbers draw the same pixels everywhere
_ROUND = [(math.cos(2 * math.pi * n / 40), math.sin(2 * math.pi * n / 40)) for n in range(40)]


@dataclass(frozen=True, eq=False)
class Pen:
    """Draws on `canvas` uint8 [H, W, 3].

    Attributes:
        x, y: where the thing's origin lies, pixels.
        scale: pixels of one unit.
        turn: radians clockwise.
        mirrored: x runs to the left.
        squeeze: foreshortening of x, 1 seen straight.
    """

    canvas: ByteArray
    x: float
    y: float
    scale: float
    turn: float = 0.0
    mirrored: bool = False
    squeeze: float = 1.0

    def _pixels(self, points: Points) -> NDArray[np.int32]:
        p = np.asarray(points, dtype=np.float64).reshape(-1, 2) * [-self.squeeze if self.mirrored else self.squeeze, 1]
        c, s = math.cos(self.turn), math.sin(self.turn)
        at = p @ np.array([[c, s], [-s, c]]) * self.scale + [self.x, self.y]
        return np.rint(at * (1 << _SHIFT)).astype(np.int32)

    def fill(self, points: Points, colour: Colour) -> None:
        """A polygon, with a thin darker rim as edges have."""
        pixels = [self._pixels(points)]
        cv2.fillPoly(self.canvas, pixels, colour, cv2.LINE_AA, _SHIFT)
        if self.scale > 24:
            cv2.polylines(self.canvas, pixels, True, shade(colour, 0.72), 1, cv2.LINE_AA, _SHIFT)

    def patch(self, points: Points, colour: Colour) -> None:
        """A polygon without a rim."""
        cv2.fillPoly(self.canvas, [self._pixels(points)], colour, cv2.LINE_AA, _SHIFT)

    def box(self, x1: float, y1: float, x2: float, y2: float, colour: Colour) -> None:
        self.fill([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], colour)

    def round_box(self, x1: float, y1: float, x2: float, y2: float, colour: Colour) -> None:
        """With corners cut by a fifth of the shorter side."""
        r = 0.2 * min(abs(x2 - x1), abs(y2 - y1))
        corners = [(x1 + r, y1), (x2 - r, y1), (x2, y1 + r), (x2, y2 - r)]
        self.fill([*corners, (x2 - r, y2), (x1 + r, y2), (x1, y2 - r), (x1, y1 + r)], colour)

    def disc(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        self.fill([(x + rx * c, y + ry * s) for c, s in _ROUND], colour)

    def ring(self, x: float, y: float, rx: float, ry: float, width: float, colour: Colour) -> None:
        outline = [self._pixels([(x + rx * c, y + ry * s) for c, s in _ROUND])]
        cv2.polylines(self.canvas, outline, True, colour, self._wide(width), cv2.LINE_AA, _SHIFT)

    def line(self, points: Points, width: float, colour: Colour) -> None:
        """A bent line, `width` units wide."""
        cv2.polylines(self.canvas, [self._pixels(points)], False, colour, self._wide(width), cv2.LINE_AA, _SHIFT)

    def bar(self, a: tuple[float, float], b: tuple[float, float], wa: float, wb: float, colour: Colour) -> None:
        """From a to b, `wa` units wide at a and `wb` at b."""
        dx, dy = b[0] - a[0], b[1] - a[1]
        long = math.hypot(dx, dy) or 1.0
        nx, ny = -dy / long / 2, dx / long / 2
        self.fill(
            [
                (a[0] + nx * wa, a[1] + ny * wa),
                (b[0] + nx * wb, b[1] + ny * wb),
                (b[0] - nx * wb, b[1] - ny * wb),
                (a[0] - nx * wa, a[1] - ny * wa),
            ],
            colour,
        )

    def _wide(self, units: float) -> int:
        return max(1, round(units * self.scale))


def shade(colour: Colour, factor: float) -> Colour:
    """Darker (below 1) or lighter."""
    b, g, r = (min(255, max(0, round(c * factor))) for c in colour)
    return b, g, r


def near(rng: np.random.Generator, colour: Colour, spread: int = 18) -> Colour:
    """A colour like it."""
    b, g, r = (int(np.clip(c + rng.integers(-spread, spread + 1), 0, 255)) for c in colour)
    return b, g, r


def any_colour(rng: np.random.Generator) -> Colour:
    """Of clothes, plastics and paint: every hue, seldom glaring."""
    hue, saturation, value = rng.integers(0, 180), rng.integers(30, 220), rng.integers(50, 235)
    b, g, r = cv2.cvtColor(np.array([[[hue, saturation, value]]], np.uint8), cv2.COLOR_HSV2BGR)[0, 0]
    return int(b), int(g), int(r)


def dark(rng: np.random.Generator) -> Colour:
    """Gun metal, rubber, black plastic."""
    level = int(rng.integers(22, 88))
    return near(rng, (level, level, level), 7)


def metal(rng: np.random.Generator) -> Colour:
    level = int(rng.integers(130, 225))
    return near(rng, (level, level, level), 9)


def wood(rng: np.random.Generator) -> Colour:
    return near(rng, shade((45, 80, 130), rng.uniform(0.6, 1.3)), 12)


def skin(rng: np.random.Generator) -> Colour:
    """From dark to light brown (BGR of the Monk scale's ends, mixed)."""
    light = rng.uniform(0, 1)
    b, g, r = (round(d + light * (e - d)) for d, e in zip((32, 44, 68), (192, 214, 238), strict=True))
    return near(rng, (b, g, r), 8)
