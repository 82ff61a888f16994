"""Starter data: one drawn thing in a drawn place, photographed badly enough to mean something."""

from __future__ import annotations

import numpy as np

from registry.models.suspect_classification.pen import Pen
from registry.models.suspect_classification.things import DRAW
from registry.vision.backdrop import backdrop, photograph
from registry.vision.dataset import Made
from registry.vision.picture import to_jpeg

CLASSES = tuple(DRAW)
UPRIGHT = ("person", "yellow_vest")
SMALL, LARGE = 0.32, 0.50  # half the thing's length, as a share of the picture's shorter side
QUALITY = 88


def make(rng: np.random.Generator, n: int) -> Made:
    """One picture of class `n` modulo 9, 120 to 200 pixels a side; slices: whether the thing is small in it."""
    name = CLASSES[n % len(CLASSES)]
    width, height = (int(v) for v in rng.integers(120, 201, 2))
    pixels = backdrop(rng, width, height).copy()
    share = float(rng.uniform(SMALL, LARGE))
    scale = share * min(width, height)
    turn = rng.normal(0, 0.1 if name in UPRIGHT else 0.4)
    room_x, room_y = max(0.0, width / 2 - scale), max(0.0, height / 2 - scale)
    pen = Pen(
        pixels,
        x=width / 2 + rng.uniform(-1, 1) * room_x,
        y=height / 2 + rng.uniform(-1, 1) * room_y,
        scale=scale,
        turn=float(turn),
        mirrored=bool(rng.random() < 0.5),
        squeeze=float(rng.uniform(0.8, 1.0)),
    )
    DRAW[name](rng, pen)
    size = "small" if share < (SMALL + LARGE) / 2 else "large"
    return Made(to_jpeg(photograph(rng, pixels), QUALITY), name, {"size": size})
