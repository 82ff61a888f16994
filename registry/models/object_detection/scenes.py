"""The starter data's generator: one to five everyday things on a backdrop, small and large, one behind the other, some
of them cut off by the edge; every tenth picture is empty. Bit-identical for a generator's state."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from registry.cases.yolo_labels import LabelBox
from registry.core.media import ByteArray
from registry.datasets.picture_set import Example
from registry.models.object_detection import things
from registry.vision.backdrop import backdrop, lay, photograph
from registry.vision.picture import to_jpeg
from registry.vision.polygons import draw_parts

SIZES = ((224, 168), (208, 208), (168, 208), (224, 144))
QUALITY = 88
TRIES = 12
EMPTY = 10  # every tenth picture shows nothing of a class
LEAST_SEEN = 0.75  # of a thing that another one stands before, or that the edge cuts


def make(rng: np.random.Generator, n: int) -> Example:
    """A picture with its boxes. `n` balances: the first thing in it goes through the classes in turn."""
    width, height = SIZES[int(rng.integers(len(SIZES)))]
    names = list(things.THINGS)
    count = 0 if n % EMPTY == EMPTY - 1 else int(rng.choice([1, 2, 3, 4, 5], p=[0.1, 0.25, 0.3, 0.2, 0.15]))
    wanted = [names[n % len(names)], *(names[int(rng.integers(len(names)))] for _ in range(count - 1))][:count]
    image = backdrop(rng, width, height).astype(np.float32)
    placed: list[tuple[str, ByteArray, int]] = []
    for name in wanted:
        found = _place(rng, name, width, height, [mask for _, mask, _ in placed], [area for *_, area in placed])
        if found is None:
            continue
        mask, colours = found
        for _, other, _ in placed:
            other[mask > 127] = 0  # what is left to be seen of those behind
        placed.append((name, mask.copy(), int(np.count_nonzero(mask > 127))))
        image = lay(image, mask, colours, shadow=rng.uniform(0.1, 0.5), soft=0.5)
    boxes = [LabelBox(name, _box(mask)) for name, mask, _ in placed]
    pixels = np.rint(np.clip(image, 0, 255)).astype(np.uint8)
    return Example(to_jpeg(photograph(rng, pixels), QUALITY), boxes)


def _box(mask: ByteArray) -> tuple[float, float, float, float]:
    """Around what is seen, as an annotator draws it."""
    x, y, wide, tall = cv2.boundingRect((mask > 96).astype(np.uint8))
    return float(x), float(y), float(x + wide), float(y + tall)


def _place(
    rng: np.random.Generator, name: str, width: int, height: int, others: list[ByteArray], areas: list[int]
) -> tuple[ByteArray, NDArray[np.float32]] | None:
    """Draws a thing where it hides none of the others too much: mask [H, W] and colours [H, W, 3]; None if nowhere."""
    draw, least, most, lean = things.THINGS[name]
    parts = draw(rng)
    points = np.concatenate([part.points for part in parts])
    extent = float(np.ptp(points, axis=0).max())
    for _ in range(TRIES):
        length = float(rng.uniform(least, most)) * min(width, height) / extent
        turn = float(rng.uniform(-np.pi, np.pi)) if lean > 1 else float(rng.normal(0, lean))
        matrix = _pose(rng, length, turn)
        at = points @ matrix.T
        centre = np.array([width, height]) * rng.uniform(0.08, 0.92, 2)
        offset = centre - (at.min(axis=0) + at.max(axis=0)) / 2
        low, high = at.min(axis=0) + offset, at.max(axis=0) + offset
        inside = np.minimum(high, [width, height]) - np.maximum(low, 0)
        if inside.min() < 8 or inside.prod() < 0.75 * (high - low).prod():
            continue
        mask, colours = draw_parts(rng, parts, matrix, offset, width, height)
        seen = [np.count_nonzero((other > 127) & (mask <= 127)) for other in others]
        if all(left >= LEAST_SEEN * area for left, area in zip(seen, areas, strict=True)):
            return mask, colours
    return None


def _pose(rng: np.random.Generator, length: float, turn: float) -> NDArray[np.float64]:
    """Units -> pixels, [2, 2]: turned, stretched a little, mirrored half the time."""
    c, s = np.cos(turn), np.sin(turn)
    side = -1.0 if rng.random() < 0.5 else 1.0
    stretch = np.exp(rng.normal(0, 0.08))
    return np.asarray(length * np.array([[c, -s], [s, c]]) @ np.diag([side * stretch, 1 / stretch]))
