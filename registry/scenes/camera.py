"""Lays shapes into a picture, with their shadow, and takes a photograph of it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from registry.core.media import ByteArray

Image = NDArray[np.float32]
"""BGR in 0..255, float32 [H, W, 3]."""


def lay(image: Image, mask: ByteArray, colour: Image, shadow: float = 0.0, soft: float = 0.6) -> Image:
    """Lays a shape over a copy of an image, with a soft edge and a shadow at its lower right.

    Args:
        image: float32 [H, W, 3], 0..255.
        mask: uint8 [H, W], 255 where the shape is.
        colour: float32 BGR, one colour [3], or a picture [H, W, 3] that the shape shows.
        shadow: share of the light that the shadow takes.
        soft: standard deviation of the edge, in pixels.
    """
    x, y, wide, tall = cv2.boundingRect(mask)
    if not wide:
        return image
    height, width = mask.shape
    offset = max(1, min(height, width) // 50)
    room = 3 * offset + int(4 * soft) + 2
    rows = slice(max(0, y - room), min(height, y + tall + 2 * room))
    columns = slice(max(0, x - room), min(width, x + wide + 2 * room))
    part = mask[rows, columns].astype(np.float32) / np.float32(255)
    over = image.copy()
    below = over[rows, columns]
    if shadow > 0:
        moved = np.zeros_like(part)
        moved[offset:, offset:] = part[:-offset, :-offset]
        dark = cv2.GaussianBlur(moved, (0, 0), float(offset))[:, :, None]
        below = below * (1 - np.float32(shadow) * dark)
    share = cv2.GaussianBlur(part, (0, 0), float(soft))[:, :, None]
    shown = colour if colour.ndim == 1 else colour[rows, columns]
    over[rows, columns] = below * (1 - share) + shown * share
    return over


def photograph(rng: np.random.Generator, scene: ByteArray | Image) -> ByteArray:
    """What a mild camera sees: exposure, colour cast, vignetting, lens blur, sensor noise. Geometry stays."""
    height, width = scene.shape[:2]
    image = rounded(scene).astype(np.float32)
    gains = np.exp(rng.normal(0, 0.05, 3) + rng.normal(0, 0.12)).astype(np.float32)
    image = (image - 128) * np.float32(rng.uniform(0.85, 1.1)) + 128
    if rng.random() < 0.5:
        y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
        gain = 1 - rng.uniform(0.05, 0.3) * (x * x + y * y) / 2
        image *= gain[:, :, None].astype(np.float32)
    sigma = rng.uniform(0.0, 0.8)
    if sigma > 0.3:
        image = cv2.GaussianBlur(image, (0, 0), sigma).astype(np.float32, copy=False)
    noise = rng.uniform(0.5, 5.0)
    # Mostly grey: one draw for each pixel, and half as much for each channel.
    grain = _normals(rng, (height, width, 1)) + np.float32(0.5) * _normals(rng, (height, width, 3))
    return rounded(np.asarray(image * gains + np.float32(noise) * grain, dtype=np.float32))


def _normals(rng: np.random.Generator, shape: tuple[int, ...]) -> Image:
    """Nearly normal, as the sum of two uniform bytes (variance 2 * 256^2 / 12): drawn much faster than normals."""
    first, second = (rng.integers(0, 256, shape, dtype=np.uint8).astype(np.float32) for _ in range(2))
    return (first + second - 255) / np.float32(104.5)


def rounded(image: ByteArray | Image) -> ByteArray:
    """To whole levels in 0..255."""
    return np.rint(np.clip(image, 0, 255)).astype(np.uint8)
