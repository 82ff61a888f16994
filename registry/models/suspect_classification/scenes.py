"""Starter data: one drawn thing before a drawn place that is out of focus, photographed by a mediocre camera."""

from __future__ import annotations

import cv2
import numpy as np

from registry.core.media import ByteArray
from registry.datasets.picture_set import Example
from registry.models.suspect_classification.things import DRAW
from registry.scenes.backdrop import backdrop
from registry.scenes.camera import Image, lay, photograph
from registry.scenes.sketch import draw_parts, pose
from registry.vision.picture import to_jpeg

CLASSES = tuple(DRAW)
TURNS = (*CLASSES, "other")  # which is the widest class, and comes twice
UPRIGHT = ("person", "yellow_vest")
SMALL, LARGE = 0.38, 0.50  # half the thing's length, as a share of the picture's shorter side
QUALITY = 88


def make(rng: np.random.Generator, n: int) -> Example:
    """One picture of the class whose turn `n` is, 128 to 152 pixels a side; slices: the thing's size in it."""
    name = TURNS[n % len(TURNS)]
    width, height = size = int(rng.integers(128, 153)), int(rng.integers(128, 153))
    image = _out_of_focus(rng, backdrop(rng, width, height))
    share = float(rng.uniform(SMALL, LARGE))
    half = share * min(size)
    centre = np.array(size) / 2 + rng.uniform(-1, 1, 2) * (np.array(size) / 2 - half)
    turn = float(rng.normal(0, 0.08 if name in UPRIGHT else 0.22))
    side = -1.0 if rng.random() < 0.5 else 1.0
    matrix = pose(half, turn, side * rng.uniform(0.85, 1.0))
    mask, colours = draw_parts(rng, list(DRAW[name](rng)), matrix, centre, size)
    image = lay(image, mask, colours, shadow=rng.uniform(0.0, 0.4), soft=0.5)
    extent = "small" if share < (SMALL + LARGE) / 2 else "large"
    return Example(to_jpeg(photograph(rng, image), QUALITY), name, {"size": extent})


def _out_of_focus(rng: np.random.Generator, place: ByteArray) -> Image:
    """The place as a lens that is focused on something nearer shows it: blurred, and paler for the air between."""
    sigma, air = rng.uniform(1.5, 4.0), rng.uniform(0.3, 0.6)
    blurred = cv2.GaussianBlur(place, (0, 0), sigma).astype(np.float32)
    return np.asarray(blurred * (1 - air) + air * rng.integers(150, 236), dtype=np.float32)
