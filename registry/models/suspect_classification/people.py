"""People, whole or from the hips up, in any clothes; and in a high-visibility vest."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from registry.models.suspect_classification.pen import Colour, Pen, any_colour, near, shade, skin

WARNING: tuple[Colour, ...] = ((40, 235, 225), (30, 250, 190), (20, 120, 250))  # BGR: yellow, lime, orange


Place = Callable[[float, float], tuple[float, float]]
"""Puts a point of a standing body, its middle at (0, 0), where this one stands."""


def person(rng: np.random.Generator, pen: Pen) -> None:
    """Without a vest. One in eight wears yellow or orange all the same: colour alone does not tell."""
    shirt = near(rng, WARNING[int(rng.integers(3))], 25) if rng.random() < 0.12 else any_colour(rng)
    _body(rng, pen, shirt)


def yellow_vest(rng: np.random.Generator, pen: Pen) -> None:
    """Yellow, lime or orange over other sleeves, open in front, with reflecting stripes; often under a helmet."""
    _body(rng, pen, any_colour(rng), near(rng, WARNING[int(rng.integers(3))], 18))


def _body(rng: np.random.Generator, pen: Pen, shirt: Colour, vest: Colour | None = None) -> None:
    tone, legs = skin(rng), shade(any_colour(rng), 0.6)
    near_by = rng.random() < 0.4  # from the hips up, larger
    zoom, drop = (1.55, 0.55) if near_by else (1.0, 0.0)

    def at(x: float, y: float) -> tuple[float, float]:
        return x * zoom, y * zoom + drop

    wide = rng.uniform(0.24, 0.32)
    if not near_by:
        stride = rng.uniform(0.06, 0.26)
        for side in (-1, 1):
            pen.bar(at(side * 0.1, 0.2), at(side * stride, 0.92), 0.2, 0.13, legs)
            pen.disc(side * (stride + 0.04), 0.95, 0.12, 0.05, (35, 32, 30))
    for side in (-1, 1):
        elbow = side * rng.uniform(0.36, 0.56), rng.uniform(-0.28, 0.02)
        hand = elbow[0] + side * rng.uniform(-0.2, 0.12), elbow[1] + rng.uniform(-0.34, 0.34)
        pen.bar(at(side * wide * 0.9, -0.42), at(*elbow), 0.17 * zoom, 0.13 * zoom, shade(shirt, 0.88))
        pen.bar(at(*elbow), at(*hand), 0.12 * zoom, 0.1 * zoom, shirt if rng.random() < 0.6 else tone)
        pen.disc(*at(*hand), 0.065 * zoom, 0.065 * zoom, tone)
    torso = [(-wide, -0.5), (wide, -0.5), (wide * 0.88, 0.26), (-wide * 0.88, 0.26)]
    pen.fill([at(*p) for p in torso], shirt)
    if vest is not None:
        _vest(rng, pen, at, wide, zoom, vest)
    pen.bar(at(0, -0.62), at(0, -0.48), 0.13 * zoom, 0.15 * zoom, shade(tone, 0.85))
    _head(rng, pen, at, zoom, tone, helmet=rng.random() < (0.5 if vest is not None else 0.1))


def _vest(rng: np.random.Generator, pen: Pen, at: Place, wide: float, zoom: float, vest: Colour) -> None:
    grey = near(rng, (205, 208, 208), 22)
    opening = rng.uniform(0.02, 0.1)
    for side in (-1, 1):
        half = [(side * opening, -0.3), (side * wide * 0.45, -0.52), (side * wide * 1.02, -0.5),
                (side * wide * 0.95, 0.24), (side * opening, 0.24)]  # fmt: skip
        pen.fill([at(*p) for p in half], vest)
        pen.bar(at(side * wide * 0.62, -0.5), at(side * wide * 0.6, 0.22), 0.065 * zoom, 0.065 * zoom, grey)
    for y in (-0.12, 0.08)[: int(rng.integers(1, 3))]:
        pen.bar(at(-wide * 0.98, y), at(wide * 0.98, y), 0.075 * zoom, 0.075 * zoom, grey)


def _head(rng: np.random.Generator, pen: Pen, at: Place, zoom: float, tone: Colour, helmet: bool) -> None:
    x, y = at(0, -0.76)
    hair = shade(near(rng, (40, 60, 90), 25), rng.uniform(0.2, 1.6))
    if rng.random() < 0.35:
        pen.disc(x, y + 0.05 * zoom, 0.16 * zoom, 0.2 * zoom, hair)
    pen.disc(x, y, 0.125 * zoom, 0.165 * zoom, tone)
    if helmet:
        shell = (near(rng, (40, 200, 235), 25), near(rng, (225, 225, 225), 15))[int(rng.integers(2))]
        dome = cv2.ellipse2Poly((0, 0), (100, 100), 0, 180, 360, 12) / 100.0
        pen.fill([(x + 0.16 * zoom * a, y - 0.03 * zoom + 0.18 * zoom * b) for a, b in dome], shell)
        pen.bar((x - 0.2 * zoom, y - 0.03 * zoom), (x + 0.2 * zoom, y - 0.03 * zoom), 0.04 * zoom, 0.04 * zoom, shell)
    else:
        crown = cv2.ellipse2Poly((0, 0), (100, 100), 0, 190, 350, 10) / 100.0
        pen.fill([(x + 0.135 * zoom * a, y - 0.04 * zoom + 0.15 * zoom * b) for a, b in crown], hair)
    if zoom * pen.scale > 60 and rng.random() < 0.75:  # seen from the front, and near enough for a face
        for side in (-1, 1):
            pen.disc(x + side * 0.05 * zoom, y - 0.01 * zoom, 0.016 * zoom, 0.012 * zoom, (30, 30, 30))
        pen.line([(x - 0.04 * zoom, y + 0.085 * zoom), (x + 0.04 * zoom, y + 0.085 * zoom)], 0.014, (60, 60, 130))
