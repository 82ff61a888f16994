"""The starter data's generator: firearms of varied kind, pose, size and colour, in hands and behind things, among tools
and household goods that look like them; every fifth picture has none. Bit-identical for a generator's state."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from registry.cases.yolo_labels import LabelBox
from registry.core.media import ByteArray
from registry.datasets.picture_set import Example
from registry.scenes.backdrop import backdrop
from registry.scenes.camera import Image, lay, photograph
from registry.scenes.colours import SKIN, paint
from registry.scenes.firearms import HANDGUNS, LONG_GUNS
from registry.scenes.household import GOODS
from registry.scenes.sketch import Matrix, Part, draw_parts, places, pose, seen_box
from registry.vision.picture import to_jpeg

SIZES = ((208, 160), (208, 208), (176, 208), (208, 136))
QUALITY = 88
MOST_OVERLAP = 0.15  # of the smaller box, between two things


def make(rng: np.random.Generator, n: int) -> Example:
    """A picture with its boxes, class `gun`. `n` balances: of five pictures one has no firearm."""
    size = SIZES[int(rng.integers(len(SIZES)))]
    guns = 0 if n % 5 == 4 else int(rng.choice([1, 2, 3], p=[0.5, 0.35, 0.15]))
    things = [True] * guns + [False] * int(rng.integers(1, 4) if not guns else rng.integers(0, 2))
    image = backdrop(rng, *size).astype(np.float32)
    taken: list[NDArray[np.float64]] = []
    boxes = []
    for number in rng.permutation(len(things)):
        armed = things[int(number)]
        placed = _place(rng, *pick_shape(rng, armed), size, taken)
        if placed is None:
            continue
        mask, colours = placed
        box = seen_box(mask)
        taken.append(np.array(box))
        image = lay(image, mask, colours, shadow=rng.uniform(0.1, 0.5), soft=0.5)
        if rng.random() < 0.2:
            image = cover(rng, image, mask)
        if armed:
            boxes.append(LabelBox("gun", box))
    return Example(to_jpeg(photograph(rng, image), QUALITY), boxes)


def pick_shape(rng: np.random.Generator, armed: bool) -> tuple[list[Part], float, float]:
    """A thing, and the least and greatest share of the picture's shorter side that it is long."""
    if not armed:
        things, least, most = GOODS, 0.3, 0.75
    elif rng.random() < 0.6:
        things, least, most = HANDGUNS, 0.4, 0.8
    else:
        things, least, most = LONG_GUNS, 0.7, 1.1
    return list(things[int(rng.integers(len(things)))](rng)), least, most


def _place(
    rng: np.random.Generator,
    parts: list[Part],
    least: float,
    most: float,
    size: tuple[int, int],
    taken: list[NDArray[np.float64]],
) -> tuple[ByteArray, Image] | None:
    """Draws a thing where there is room: mask [H, W] and colours [H, W, 3]; None if there is none."""

    def any_pose() -> Matrix:
        """Most things lie or are held about level, seen more or less from the side."""
        length = float(rng.uniform(least, most)) * min(size)
        turn = rng.normal(0, 0.3) if rng.random() < 0.9 else rng.uniform(-np.pi, np.pi)
        squeeze = rng.uniform(0.6, 1.0) if rng.random() < 0.4 else 1.0
        side = -1.0 if rng.random() < 0.5 else 1.0
        return pose(length, turn, side * squeeze, shear=rng.normal(0, 0.08))

    for place in places(rng, parts, any_pose, size, margin=0.12, least_inside=0.8):
        if any(_overlap(place.box, other) > MOST_OVERLAP for other in taken):
            continue
        mask, colours = draw_parts(rng, parts, place.matrix, place.offset, size)
        x1, y1, x2, y2 = seen_box(mask)
        if min(x2 - x1, y2 - y1) >= 6:
            return mask, colours
    return None


def _overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    smaller = min(float((a[2:] - a[:2]).prod()), float((b[2:] - b[:2]).prod()))
    return float(np.clip(sides, 0, None).prod()) / max(smaller, 1.0)


def cover(rng: np.random.Generator, image: Image, mask: ByteArray) -> Image:
    """A hand around a part of the thing, or something else in front of it; at most about a third of it is hidden."""
    height, width = mask.shape
    x, y, wide, tall = cv2.boundingRect(mask)
    over = np.zeros((height, width), dtype=np.uint8)
    at = np.array([x + wide * rng.uniform(0.1, 0.9), y + tall * rng.uniform(0.2, 0.9)])
    reach = float(np.sqrt(wide * tall))
    if rng.random() < 0.6:
        colour = np.array(SKIN[int(rng.integers(len(SKIN)))], dtype=np.float32) * np.float32(rng.uniform(0.8, 1.1))
        away = rng.uniform(0, 2 * np.pi)
        palm = (round(reach * rng.uniform(0.14, 0.22)), round(reach * rng.uniform(0.1, 0.16)))
        cv2.ellipse(over, (round(at[0]), round(at[1])), palm, round(np.degrees(away)), 0, 360, 255, -1)
        wrist = at + np.array([np.cos(away), np.sin(away)]) * reach * 0.9
        arm = np.rint(np.stack([at, wrist])).astype(np.int32)
        cv2.line(over, arm[0].tolist(), arm[1].tolist(), 255, max(3, round(reach * rng.uniform(0.12, 0.2))))
    else:
        colour = paint(rng)
        corners = cv2.boxPoints(
            (at.tolist(), (reach * rng.uniform(0.1, 0.25), reach * rng.uniform(0.5, 1.2)), float(rng.integers(180)))
        )
        cv2.fillPoly(over, [np.rint(corners).astype(np.int32)], 255)
    return lay(image, over, colour, shadow=rng.uniform(0.0, 0.4), soft=0.7)
