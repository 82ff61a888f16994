"""The starter data's generator: firearms of varied kind, pose, size and colour, in hands and behind things, among tools
and household goods that look like them; every fifth picture has none. Bit-identical for a generator's state."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from registry.cases.yolo_labels import LabelBox
from registry.core.media import ByteArray
from registry.datasets.picture_set import Example
from registry.models.weapon_detection import shapes
from registry.vision.backdrop import backdrop, lay, paint, photograph
from registry.vision.picture import to_jpeg
from registry.vision.polygons import Part, draw_parts

SIZES = ((208, 160), (208, 208), (176, 208), (208, 136))
QUALITY = 88
SKIN = ((120, 150, 205), (85, 120, 175), (60, 85, 130), (40, 58, 92), (150, 178, 225))
TRIES = 12
MOST_OVERLAP = 0.15  # of the smaller box, between two things


def make(rng: np.random.Generator, n: int) -> Example:
    """A picture with its boxes, class `gun`. `n` balances: of five pictures one has no firearm."""
    width, height = SIZES[int(rng.integers(len(SIZES)))]
    guns = 0 if n % 5 == 4 else int(rng.choice([1, 2, 3], p=[0.5, 0.35, 0.15]))
    things = [True] * guns + [False] * int(rng.integers(1, 4) if not guns else rng.integers(0, 2))
    image = backdrop(rng, width, height).astype(np.float32)
    taken: list[NDArray[np.float64]] = []
    boxes = []
    for number in rng.permutation(len(things)):
        armed = things[int(number)]
        placed = _place(rng, pick_shape(rng, armed), width, height, taken)
        if placed is None:
            continue
        mask, colours, corners = placed
        taken.append(corners)
        image = lay(image, mask, colours, shadow=rng.uniform(0.1, 0.5), soft=0.5)
        if rng.random() < 0.2:
            image = cover(rng, image, mask)
        if armed:
            x1, y1, x2, y2 = (float(v) for v in corners)
            boxes.append(LabelBox("gun", (x1, y1, x2, y2)))
    pixels = np.rint(np.clip(image, 0, 255)).astype(np.uint8)
    return Example(to_jpeg(photograph(rng, pixels), QUALITY), boxes)


def pick_shape(rng: np.random.Generator, armed: bool) -> tuple[list[Part], float, float]:
    """A thing, and the least and greatest share of the picture's shorter side that it is long."""
    if not armed:
        names = list(shapes.OTHERS)
        return shapes.OTHERS[names[int(rng.integers(len(names)))]](rng), 0.3, 0.75
    if rng.random() < 0.6:
        return shapes.HANDGUNS[int(rng.integers(len(shapes.HANDGUNS)))](rng), 0.4, 0.8
    return shapes.LONG_GUNS[int(rng.integers(len(shapes.LONG_GUNS)))](rng), 0.7, 1.1


def _place(
    rng: np.random.Generator,
    shape: tuple[list[Part], float, float],
    width: int,
    height: int,
    taken: list[NDArray[np.float64]],
) -> tuple[ByteArray, NDArray[np.float32], NDArray[np.float64]] | None:
    """Draws a thing where there is room: mask [H, W], colours [H, W, 3] and its box; None if there is none."""
    parts, least, most = shape
    for _ in range(TRIES):
        matrix = _pose(rng, float(rng.uniform(least, most)) * min(width, height))
        centre = np.array([width, height]) * rng.uniform(0.12, 0.88, 2)
        everything = np.concatenate([part.points for part in parts]) @ matrix.T
        offset = centre - (everything.min(axis=0) + everything.max(axis=0)) / 2
        low, high = everything.min(axis=0) + offset, everything.max(axis=0) + offset
        cut_low, cut_high = np.maximum(low, 0), np.minimum(high, [width, height])
        if (cut_high - cut_low).min() < 8 or (cut_high - cut_low).prod() < 0.8 * (high - low).prod():
            continue
        if any(_overlap(np.concatenate([cut_low, cut_high]), other) > MOST_OVERLAP for other in taken):
            continue
        mask, colours = draw_parts(rng, parts, matrix, offset, width, height)
        x, y, wide, tall = cv2.boundingRect((mask > 96).astype(np.uint8))
        if min(wide, tall) >= 6:
            return mask, colours, np.array([x, y, x + wide, y + tall], dtype=np.float64)
    return None


def _pose(rng: np.random.Generator, length: float) -> NDArray[np.float64]:
    """Units -> pixels, [2, 2]: most things lie or are held about level, seen more or less from the side."""
    turn = rng.normal(0, 0.3) if rng.random() < 0.9 else rng.uniform(-np.pi, np.pi)
    squeeze = rng.uniform(0.6, 1.0) if rng.random() < 0.4 else 1.0
    side = -1.0 if rng.random() < 0.5 else 1.0
    c, s = np.cos(turn), np.sin(turn)
    shear = np.array([[1.0, rng.normal(0, 0.08)], [0.0, 1.0]])
    return np.asarray(length * np.array([[c, -s], [s, c]]) @ shear @ np.diag([side * squeeze, 1.0]))


def _overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    smaller = min(float((a[2:] - a[:2]).prod()), float((b[2:] - b[:2]).prod()))
    return float(np.clip(sides, 0, None).prod()) / max(smaller, 1.0)


def cover(rng: np.random.Generator, image: NDArray[np.float32], mask: ByteArray) -> NDArray[np.float32]:
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
