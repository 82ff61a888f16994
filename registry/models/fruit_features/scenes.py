"""Starter pictures: one kind of fruit, alone or several of it, lying on something, under some light."""

from __future__ import annotations

import cv2
import numpy as np

from registry.core.media import ByteArray
from registry.datasets.picture_set import Example
from registry.models.fruit_features.fruits import FRUITS
from registry.scenes.backdrop import backdrop
from registry.scenes.camera import photograph
from registry.scenes.solids import Frame, Layer, Light
from registry.vision.picture import to_jpeg

QUALITY = 90
SIZES = (96, 112, 128, 144)
SEVERAL = 3  # every third picture of a kind shows more than one


def make(rng: np.random.Generator, n: int) -> Example:
    """Picture number `n`: its kind is `n` modulo the number of kinds. Attribute `view`: `one` or `several`."""
    names = tuple(FRUITS)
    name, several = names[n % len(names)], (n // len(names)) % SEVERAL == SEVERAL - 1
    width, height = (int(side) for side in rng.choice(SIZES, 2))
    pixels = _calm(rng, backdrop(rng, width, height))
    light = Light.draw(rng)
    for x, y, radius in _places(rng, width, height, several):
        angle = rng.uniform(-0.5, 0.5)
        frame = Frame.of(radius, angle, rng.uniform(0.86, 1.0), light)
        _put(pixels, FRUITS[name](rng, frame), x, y, light, radius)
    return Example(to_jpeg(photograph(rng, pixels), QUALITY), name, {"view": "several" if several else "one"})


def _calm(rng: np.random.Generator, pixels: ByteArray) -> ByteArray:
    """Shelves, tables and crates are duller than what lies on them."""
    image = pixels.astype(np.float64)
    grey = image.mean(axis=2, keepdims=True)
    dull = grey + rng.uniform(0.15, 0.5) * (image - grey)
    level = dull.mean()
    return np.rint(np.clip(level + rng.uniform(0.4, 0.8) * (dull - level), 0, 255)).astype(np.uint8)


def _places(rng: np.random.Generator, width: int, height: int, several: bool) -> list[tuple[int, int, float]]:
    """Centres and radii in pixels, the farthest first. Fruits may overlap and reach over the picture's edge."""
    short = min(width, height)
    if not several:
        radius = short * rng.uniform(0.3, 0.44)
        slack = 0.95 * radius
        return [(round(rng.uniform(slack, width - slack)), round(rng.uniform(slack, height - slack)), radius)]
    radius = short * rng.uniform(0.2, 0.27)
    found: list[tuple[int, int, float]] = []
    for _ in range(int(rng.integers(2, 6))):
        for _ in range(6):  # tries for a place that does not cover another fruit's middle
            x, y = rng.uniform(radius, width - radius), rng.uniform(radius, height - radius)
            if all(np.hypot(x - a, y - b) > 1.25 * radius for a, b, _ in found):
                found.append((round(x), round(y), radius * rng.uniform(0.88, 1.12)))
                break
    return sorted(found, key=lambda place: place[1])


def _put(pixels: ByteArray, layer: Layer, x: int, y: int, light: Light, radius: float) -> None:
    """Lays a fruit with its soft shadow into the picture, around (x, y)."""
    shadow = np.rint(255 * layer.alpha).astype(np.uint8)
    blur = 2 * max(1, round(0.16 * radius)) + 1
    # A wide border, so that the blurred shadow fades out inside its own patch.
    shadow = cv2.GaussianBlur(cv2.copyMakeBorder(shadow, blur, blur, blur, blur, cv2.BORDER_CONSTANT), (blur, blur), 0)
    reach = 0.28 * radius
    dark = Layer(np.zeros((*shadow.shape, 3)), shadow * (0.5 / 255))
    _blend(pixels, dark, x - round(reach * light.x), y - round(reach * light.y))
    _blend(pixels, layer, x, y)


def _blend(pixels: ByteArray, layer: Layer, x: int, y: int) -> None:
    side, (height, width) = layer.alpha.shape[0], pixels.shape[:2]
    left, top = x - side // 2, y - side // 2
    x1, y1, x2, y2 = max(0, left), max(0, top), min(width, left + side), min(height, top + side)
    if x1 >= x2 or y1 >= y2:
        return
    cut = (slice(y1 - top, y2 - top), slice(x1 - left, x2 - left))
    alpha = layer.alpha[cut][..., None]
    under = pixels[y1:y2, x1:x2]
    pixels[y1:y2, x1:x2] = np.rint(under * (1 - alpha) + layer.colour[cut] * alpha).astype(np.uint8)
