"""Small generated pictures with one or several shapes in them, for tests of data sets."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np

from registry.cases.yolo_labels import LabelBox
from registry.datasets.layouts import BoxSet, ClassSet, MaskSet
from registry.datasets.picture_set import Example

CLASSES = ("disc", "square", "yellow_vest")
COLOURS = ((40, 60, 220), (220, 90, 40), (30, 220, 230))
WIDTH, HEIGHT = 96, 72


def scene(rng: np.random.Generator, names: tuple[str, ...]) -> tuple[bytes, list[LabelBox]]:
    """A JPEG with these shapes on a cluttered ground, and their boxes."""
    ground = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    pixels = cv2.resize(ground, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) // 2 + 40
    boxes = []
    for n, name in enumerate(names):
        side = int(rng.integers(14, 24))
        x, y = int(rng.integers(0, WIDTH // 2 - side)) + n % 2 * WIDTH // 2, int(rng.integers(0, HEIGHT - side))
        colour = COLOURS[CLASSES.index(name)]
        if name == "disc":
            cv2.circle(pixels, (x + side // 2, y + side // 2), side // 2, colour, -1)
        else:
            cv2.rectangle(pixels, (x, y), (x + side, y + side), colour, -1)
        boxes.append(LabelBox(name, (x, y, x + side, y + side)))
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes(), boxes


def one_class(rng: np.random.Generator, n: int) -> Example:
    name = CLASSES[n % len(CLASSES)]
    body, _ = scene(rng, (name,))
    return Example(body, name, {"light": "day" if n % 2 else "night"})


def some_boxes(rng: np.random.Generator, n: int) -> Example:
    """None, one or two boxes."""
    body, boxes = scene(rng, tuple(CLASSES[(n + k) % len(CLASSES)] for k in range(n % 3)))
    return Example(body, boxes)


def class_set(**options: bool) -> ClassSet:
    return ClassSet("sorter", CLASSES, one_class, **options)


def box_set() -> BoxSet:
    return BoxSet("finder", CLASSES, some_boxes)


def one_mask(rng: np.random.Generator, n: int) -> Example:
    """None, one or two shapes, and the boxes around them as a mask."""
    body, boxes = scene(rng, tuple(CLASSES[(n + k) % len(CLASSES)] for k in range(n % 3)))
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for one in boxes:
        x1, y1, x2, y2 = (int(edge) for edge in one.box)
        mask[y1:y2, x1:x2] = CLASSES.index(one.name) + 1
    return Example(body, mask, {"light": "day" if n % 2 else "night"})


def mask_set(classes: tuple[str, ...] = CLASSES) -> MaskSet:
    return MaskSet("cutter", classes, one_mask)


def contents(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
