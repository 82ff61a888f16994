"""The starter data's generator: one to five everyday things on a backdrop, small and large, one behind the other, some
of them cut off by the edge; every tenth picture is empty. Bit-identical for a generator's state."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from registry.cases.yolo_labels import LabelBox
from registry.core.media import ByteArray
from registry.datasets.picture_set import Example
from registry.scenes import everyday
from registry.scenes.backdrop import backdrop
from registry.scenes.camera import lay, photograph
from registry.scenes.sketch import Matrix, Thing, corners, draw_parts, places, pose, seen_box
from registry.vision.picture import to_jpeg

THINGS: Mapping[str, tuple[Thing, float, float, float]] = {
    "person": (everyday.person, 0.5, 0.95, 0.06),
    "car": (everyday.car, 0.45, 0.95, 0.05),
    "traffic light": (everyday.traffic_light, 0.35, 0.7, 0.06),
    "stop sign": (everyday.stop_sign, 0.28, 0.6, 0.08),
    "clock": (everyday.clock, 0.28, 0.6, 0.1),
    "bottle": (everyday.bottle, 0.45, 0.85, 0.12),
    "apple": (everyday.apple, 0.28, 0.6, 0.2),
    "banana": (everyday.banana, 0.35, 0.7, 0.5),
}
"""Class -> how it is drawn, the least and greatest of its longer side as a share of the picture's shorter one, and how
far it may lean, radians (standard deviation)."""

SIZES = ((224, 168), (208, 208), (168, 208), (224, 144))
QUALITY = 88
EMPTY = 10  # every tenth picture shows nothing of a class
LEAST_SEEN = 0.75  # of a thing that another one stands before, or that the edge cuts


def make(rng: np.random.Generator, n: int) -> Example:
    """A picture with its boxes. `n` balances: the first thing in it goes through the classes in turn."""
    size = SIZES[int(rng.integers(len(SIZES)))]
    names = list(THINGS)
    count = 0 if n % EMPTY == EMPTY - 1 else int(rng.choice([1, 2, 3, 4, 5], p=[0.1, 0.25, 0.3, 0.2, 0.15]))
    wanted = [names[n % len(names)], *(names[int(rng.integers(len(names)))] for _ in range(count - 1))][:count]
    image = backdrop(rng, *size).astype(np.float32)
    placed: list[tuple[str, ByteArray, int]] = []
    for name in wanted:
        found = _place(rng, name, size, [mask for _, mask, _ in placed], [area for *_, area in placed])
        if found is None:
            continue
        mask, colours = found
        for _, other, _ in placed:
            other[mask > 127] = 0  # what is left to be seen of those behind
        placed.append((name, mask.copy(), int(np.count_nonzero(mask > 127))))
        image = lay(image, mask, colours, shadow=rng.uniform(0.1, 0.5), soft=0.5)
    boxes = [LabelBox(name, seen_box(mask)) for name, mask, _ in placed]
    return Example(to_jpeg(photograph(rng, image), QUALITY), boxes)


def _place(
    rng: np.random.Generator, name: str, size: tuple[int, int], others: list[ByteArray], areas: list[int]
) -> tuple[ByteArray, NDArray[np.float32]] | None:
    """Draws a thing where it hides none of the others too much: mask [H, W] and colours [H, W, 3]; None if nowhere."""
    draw, least, most, lean = THINGS[name]
    parts = list(draw(rng))
    low, high = corners(parts)

    def any_pose() -> Matrix:
        """Turned, stretched a little, mirrored half the time."""
        length = float(rng.uniform(least, most)) * min(size) / float((high - low).max())
        turn = float(rng.normal(0, lean))
        side = -1.0 if rng.random() < 0.5 else 1.0
        stretch = np.exp(rng.normal(0, 0.08))
        return pose(length, turn, side * stretch, 1 / stretch)

    for place in places(rng, parts, any_pose, size, margin=0.08, least_inside=0.75):
        mask, colours = draw_parts(rng, parts, place.matrix, place.offset, size)
        seen = [np.count_nonzero((other > 127) & (mask <= 127)) for other in others]
        if all(left >= LEAST_SEEN * area for left, area in zip(seen, areas, strict=True)):
            return mask, colours
    return None
