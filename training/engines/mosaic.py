"""Training examples of a detector: pictures with their boxes, augmented, and composed of four (mosaic) if asked for.

Mosaic, scale, shift, flip and colour as YOLOv5 and YOLOv8 do them (Bochkovskiy 2020, arXiv:2004.10934; ultralytics'
`augment.py`), but drawn from (seed, picture, epoch), so that a run can be repeated and resumed. That
is why this is not torchvision's transforms, which draw from the global random state and have no mosaic.

Parameters of a model's section: `image_size`; `mosaic` (share of the examples that are composed), `scale` (how much
larger or smaller), `shift` (of the edge), `flip` (share), `hue`, `saturation`, `value` (gains). Defaults: `DEFAULTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from registry.boxes.labels import TrueBoxes
from registry.contract.hooks import Examples
from registry.core.media import MAX_CASE_PIXELS, ByteArray, Case, FloatArray, Parameters
from registry.vision import picture

DEFAULTS = {"mosaic": 0.5, "scale": 0.4, "shift": 0.1, "flip": 0.5, "hue": 0.015, "saturation": 0.6, "value": 0.4}
MEMORY = 2_000_000_000  # bytes of decoded pictures to keep; the others are read again each time
PAD = 114
LEAST_SIDE, LEAST_SHARE = 2.0, 0.15  # a box with less left after cropping is dropped


class Scenes(Examples):
    """x float32 [3, S, S] RGB in [0, 1]; y float32 [T, 5]: class, centre x, centre y, width, height in shares of S."""

    def __init__(
        self, cases: Sequence[Case], truth: Callable[[Any], TrueBoxes], params: Parameters, train: bool, seed: int
    ) -> None:
        self.cases, self.size, self.train, self.seed = list(cases), int(params["image_size"]), train, seed
        self.options = {name: float(params.get(name, value)) for name, value in DEFAULTS.items()}
        self.truths = [truth(case.truth) for case in cases]
        self._held: dict[int, ByteArray] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng([self.seed, index, self.epoch])
        if not self.train:
            pixels, boxes, classes = self._compose([index], [(1.0, False)], (0.5, 0.5), whole=True)
        else:
            pixels, boxes, classes = self._drawn_scene(index, rng)
            pixels = recolour(pixels, rng, self.options["hue"], self.options["saturation"], self.options["value"])
        x1, y1, x2, y2 = boxes.T / self.size
        target = np.stack([classes.astype(np.float32), (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], axis=1)
        return torch.from_numpy(picture.to_input(pixels)), torch.from_numpy(target.astype(np.float32))

    def _drawn_scene(self, index: int, rng: np.random.Generator) -> tuple[ByteArray, FloatArray, NDArray[np.int64]]:
        composed = len(self.cases) > 1 and rng.random() < self.options["mosaic"]
        numbers = [index, *(int(n) for n in rng.integers(0, len(self.cases), 3))] if composed else [index]
        zoom = float(rng.uniform(1 - self.options["scale"], 1 + self.options["scale"]))
        poses = [(zoom, bool(rng.random() < self.options["flip"])) for _ in numbers]
        away = rng.uniform(-0.5, 0.5, 2) * zoom if composed else rng.uniform(-1, 1, 2) * self.options["shift"]
        return self._compose(numbers, poses, (0.5 + float(away[0]), 0.5 + float(away[1])), whole=not composed)

    def _compose(
        self, numbers: Sequence[int], poses: Sequence[tuple[float, bool]], at: tuple[float, float], whole: bool
    ) -> tuple[ByteArray, FloatArray, NDArray[np.int64]]:
        """Pictures on a grey square: one with its centre at `at`, or four whose corners meet there."""
        size = self.size
        canvas = np.full((size, size, 3), PAD, dtype=np.uint8)
        boxes, classes = [], []
        for place, (number, (zoom, mirrored)) in enumerate(zip(numbers, poses, strict=True)):
            pixels, truth = self._pixels(number), self.truths[number]
            height, width = (max(1, round(side * zoom)) for side in pixels.shape[:2])
            share = np.array([0.5, 0.5]) if whole else np.array([place % 2 == 0, place < 2], dtype=float)
            left, top = (round(at[axis] * size - share[axis] * side) for axis, side in enumerate((width, height)))
            if (height, width) != pixels.shape[:2]:
                pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
            found = truth.pixels(width, height)
            if mirrored:
                pixels = pixels[:, ::-1]
                found = np.stack([width - found[:, 2], found[:, 1], width - found[:, 0], found[:, 3]], axis=1)
            x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + width, size), min(top + height, size)
            if x2 > x1 and y2 > y1:
                canvas[y1:y2, x1:x2] = pixels[y1 - top : y2 - top, x1 - left : x2 - left]
            seen, kept = cut(found + np.array([left, top, left, top], np.float32), size)
            boxes.append(seen)
            classes.append(truth.classes[kept])
        return canvas, np.concatenate(boxes), np.concatenate(classes)

    def _pixels(self, number: int) -> ByteArray:
        """uint8 [h, w, 3] BGR, its longer side `size`."""
        if number in self._held:
            return self._held[number]
        whole = picture.decode(self.cases[number].input.read_bytes(), MAX_CASE_PIXELS)
        box = picture.Letterbox.of(whole.width, whole.height, self.size)
        x1, y1, x2, y2 = box.inner
        pixels = np.ascontiguousarray(box.fit(whole.pixels)[y1:y2, x1:x2])
        if self._bytes < MEMORY:
            self._held[number] = pixels
            self._bytes += pixels.nbytes
        return pixels


def cut(boxes: FloatArray, size: int) -> tuple[FloatArray, NDArray[np.int64]]:
    """Boxes clipped to the square, and the indices of those that are kept."""
    inside = np.clip(boxes, 0, size).astype(np.float32)
    sides, before = inside[:, 2:] - inside[:, :2], boxes[:, 2:] - boxes[:, :2]
    share = sides.prod(axis=1) / np.maximum(before.prod(axis=1), 1e-6)
    kept = np.flatnonzero((sides.min(axis=1, initial=size) > LEAST_SIDE) & (share > LEAST_SHARE))
    return inside[kept], kept


def recolour(pixels: ByteArray, rng: np.random.Generator, hue: float, saturation: float, value: float) -> ByteArray:
    """Multiplies hue, saturation and value by random factors of 1 +- these gains."""
    gains = 1 + rng.uniform(-1, 1, 3) * (hue, saturation, value)
    ramp = np.arange(256)
    tables = (
        (ramp * gains[0] % 180).astype(np.uint8),
        np.clip(ramp * gains[1], 0, 255).astype(np.uint8),
        np.clip(ramp * gains[2], 0, 255).astype(np.uint8),
    )
    planes = cv2.split(cv2.cvtColor(pixels, cv2.COLOR_BGR2HSV))
    mixed = cv2.merge([cv2.LUT(plane, table) for plane, table in zip(planes, tables, strict=True)])
    return cv2.cvtColor(mixed, cv2.COLOR_HSV2BGR).astype(np.uint8, copy=False)


def collate(examples: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """x [N, 3, S, S]; y [boxes of all pictures, 6]: number of the picture in the batch, then as in `Scenes`."""
    numbered = [
        torch.cat([torch.full((len(target), 1), float(number)), target], dim=1)
        for number, (_, target) in enumerate(examples)
    ]
    return torch.stack([image for image, _ in examples]), torch.cat(numbered)
