"""Starter data: one drawn thing before a drawn place that is out of focus, photographed by a mediocre camera."""

from __future__ import annotations

import cv2
import numpy as np

from registry.core.media import ByteArray
from registry.datasets.picture_set import Example
from registry.models.suspect_classification.pen import Pen
from registry.models.suspect_classification.things import DRAW
from registry.scenes.backdrop import backdrop
from registry.scenes.camera import photograph
from registry.vision.picture import to_jpeg

CLASSES = tuple(DRAW)
TURNS = (*CLASSES, "other")  # which is the widest class, and comes twice
UPRIGHT = ("person", "yellow_vest")
SMALL, LARGE = 0.38, 0.50  # half the thing's length, as a share of the picture's shorter side
QUALITY = 88


def make(rng: np.random.Generator, n: int) -> Example:
    """One picture of the class whose turn `n` is, 128 to 152 pixels a side; slices: the thing's size in it."""
    name = TURNS[n % len(TURNS)]
    width, height = (int(v) for v in rng.integers(128, 153, 2))
    pixels = _behind(rng, backdrop(rng, width, height))
    share = float(rng.uniform(SMALL, LARGE))
    scale = share * min(width, height)
    room_x, room_y = width / 2 - scale, height / 2 - scale
    pen = Pen(
        pixels,
        x=width / 2 + rng.uniform(-1, 1) * room_x,
        y=height / 2 + rng.uniform(-1, 1) * room_y,
        scale=scale,
        turn=float(rng.normal(0, 0.08 if name in UPRIGHT else 0.22)),
        mirrored=bool(rng.random() < 0.5),
        squeeze=float(rng.uniform(0.85, 1.0)),
    )
    DRAW[name](rng, pen)
    size = "small" if share < (SMALL + LARGE) / 2 else "large"
    return Example(to_jpeg(photograph(rng, pixels), QUALITY), name, {"size": size})


def _behind(rng: np.random.Generator, place: ByteArray) -> ByteArray:
    """The place as a lens that is focused on something nearer shows it: blurred, and paler for the air between."""
    sigma, air = rng.uniform(1.5, 4.0), rng.uniform(0.3, 0.6)
    blurred = cv2.GaussianBlur(place, (0, 0), sigma)
    pale = np.full_like(blurred, rng.integers(150, 236))
    return np.asarray(cv2.addWeighted(blurred, 1 - air, pale, air, 0), dtype=np.uint8)
