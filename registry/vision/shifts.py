"""Shifts: changes that happen to pictures in the field. Geometry stays, so boxes, masks and classes remain valid.

By hand: kornia needs PyTorch, and albumentations is no longer developed.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from registry.core.errors import NotFound
from registry.core.media import MAX_CASE_PIXELS, ByteArray
from registry.vision.picture import decode, to_jpeg

Image = NDArray[np.float32]
"""float32 [H, W, 3], BGR in [0, 1]."""

QUALITY = 93  # of the JPEG that `shift` returns

HOW: Mapping[str, str] = {
    "night": "the light goes: a short, blue, noisy exposure",
    "fog": "fog or a steamed-up lens: contrast falls with distance",
    "blur": "a camera that moves or is out of focus",
    "sensor-noise": "a small sensor at high gain: shot noise, read noise, hot pixels",
    "jpeg": "a thin line: JPEG at a few per cent, twice",
    "camera": "another camera: white balance, tone curve, saturation, vignetting",
    "low-resolution": "a coarse sensor, scaled up",
    "glare": "a lamp or the sun shines into the lens",
}
"""Kind of shift -> one line about it."""


def shift(body: bytes, how: str, severity: float, seed: int, kinds: Mapping[str, str] = HOW) -> bytes:
    """A picture file -> a JPEG of the shifted, upright picture. The same arguments give the same bytes.

    Args:
        how: one of `kinds`.
        kinds: a model's selection from `HOW`, in its own order.
        severity: in (0, 1]; at 1 a person can barely recognise the picture.

    Raises:
        NotFound: there is no such shift.
        BadInput: as `decode`.
        ValueError: the severity is out of range.
    """
    if how not in kinds:
        raise NotFound(f"there is no shift {how!r}", expected=f"one of {', '.join(kinds)}")
    pixels = decode(body, MAX_CASE_PIXELS).pixels
    return to_jpeg(apply(pixels, how, severity, seed), QUALITY)


def apply(pixels: ByteArray, how: str, severity: float, seed: int) -> ByteArray:
    """`shift` for pixels, uint8 [H, W, 3] BGR. Raises KeyError for an unknown kind, and ValueError as `shift`."""
    if not 0 < severity <= 1:
        raise ValueError(f"severity {severity} is not in (0, 1]")
    rng = np.random.default_rng([seed, zlib.crc32(how.encode())])
    image = np.asarray(pixels, dtype=np.float32) / np.float32(255)
    return _bytes(_SHIFTS[how](image, severity, rng))


def _bytes(image: Image) -> ByteArray:
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _night(image: Image, severity: float, rng: np.random.Generator) -> Image:
    light = 1 - 0.93 * severity * rng.uniform(0.93, 1.0)
    cast = np.array([1.0, 0.92, 0.78], dtype=np.float32) ** np.float32(severity)
    dark = image ** np.float32(1 + 0.5 * severity) * np.float32(light) * cast
    return _grain(dark, 0.030 * severity, 0.010 * severity, rng)


def _fog(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Koschmieder's law: J t + A (1 - t), t = exp(-beta d). Depth is unknown: the upper part counts as far away."""
    height, width = image.shape[:2]
    depth = 1.0 - 0.55 * np.linspace(0, 1, height, dtype=np.float32)[:, None] + 0.45 * _clouds(height, width, rng)
    through = np.exp(-2.6 * severity * rng.uniform(0.9, 1.0) * depth)[:, :, None].astype(np.float32)
    veil = np.array([0.86, 0.84, 0.82], dtype=np.float32) * np.float32(rng.uniform(0.92, 1.0))
    soft = cv2.GaussianBlur(image, (0, 0), 0.004 * severity * min(height, width) + 0.3)
    return np.asarray(soft * through + veil * (1 - through), dtype=np.float32)


def _blur(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Along a line (a moving camera) or over a disc (out of focus), as the seed decides."""
    reach = max(1.0, 0.045 * severity * rng.uniform(0.85, 1.0) * min(image.shape[:2]))
    edge = 2 * math.ceil(reach) + 1
    middle = edge // 2
    kernel = np.zeros((edge, edge), dtype=np.float32)
    if rng.random() < 0.5:
        turn = rng.uniform(0, math.pi)
        across, down = round(reach * math.cos(turn)), round(reach * math.sin(turn))
        cv2.line(kernel, (middle - across, middle - down), (middle + across, middle + down), 1.0, 1)
    else:
        y, x = np.ogrid[-middle : middle + 1, -middle : middle + 1]
        kernel[x * x + y * y <= (0.75 * reach) ** 2 + 0.5] = 1.0
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT), dtype=np.float32)


def _sensor_noise(image: Image, severity: float, rng: np.random.Generator) -> Image:
    noisy = _grain(image, 0.30 * severity, 0.10 * severity, rng)
    hot = rng.random(image.shape[:2], dtype=np.float32) < 0.002 * severity
    noisy[hot] = rng.uniform(0.7, 1.0, (int(hot.sum()), 3)).astype(np.float32)
    return noisy


def _jpeg(image: Image, severity: float, rng: np.random.Generator) -> Image:
    worst = 3 + 40 * (1 - severity) ** 2
    small = _bytes(image)
    for offset, quality in ((3, worst * rng.uniform(1.0, 1.3)), (0, worst)):
        # Offset the two grids of 8 x 8 blocks, as a crop does.
        moved = np.roll(small, (offset, offset), axis=(0, 1))
        packed = np.frombuffer(to_jpeg(moved, max(1, round(quality))), dtype=np.uint8)
        unpacked = cv2.imdecode(packed, cv2.IMREAD_COLOR)
        small = np.roll(unpacked, (-offset, -offset), axis=(0, 1)).astype(np.uint8, copy=False)
    return small.astype(np.float32) / np.float32(255)


def _camera(image: Image, severity: float, rng: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    warm = 0.55 * severity * rng.uniform(0.85, 1.0) * rng.choice([-1.0, 1.0])
    gains = np.exp(np.array([-warm, 0.12 * severity * rng.uniform(-1, 1), warm])).astype(np.float32)
    tone = np.float32(math.exp(0.5 * severity * rng.uniform(-1, 1)))
    grey = image.mean(axis=2, keepdims=True)
    muted = grey + (image - grey) * np.float32(1 - 0.6 * severity * rng.uniform(0.6, 1.0))
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
    falloff = 1 - 0.75 * severity * np.clip((x * x + y * y) / 2, 0, 1)
    shaded = np.clip(muted * gains, 0, 1) ** tone * falloff[:, :, None]
    return np.asarray(shaded, dtype=np.float32)


def _low_resolution(image: Image, severity: float, rng: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    factor = 1 + 9 * severity * rng.uniform(0.85, 1.0)
    size = max(4, round(width / factor)), max(4, round(height / factor))
    coarse = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _glare(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Veiling glare: light scattered in the lens adds to everything, most around its source."""
    height, width = image.shape[:2]
    x0, y0 = rng.uniform(0.25, 0.75) * width, rng.uniform(0.1, 0.5) * height
    y, x = np.arange(height)[:, None] - y0, np.arange(width)[None, :] - x0
    near = np.hypot(x, y) / min(height, width)
    light = 1.3 * severity * np.exp(-((near / 0.22) ** 2)) + 0.75 * severity * np.exp(-near / 0.55)
    colour = np.array([0.86, 0.95, 1.0])
    return np.asarray(1 - (1 - image) * np.exp(-1.4 * light[:, :, None] * colour), dtype=np.float32)


def _grain(image: Image, shot: float, read: float, rng: np.random.Generator) -> Image:
    """Adds shot noise, which grows with the root of the light, and read noise, which does not."""
    sigma = np.sqrt(np.float32(shot * shot) * np.clip(image, 0, 1) + np.float32(read * read))
    return np.asarray(image + sigma * rng.standard_normal(image.shape, dtype=np.float32), dtype=np.float32)


def _clouds(height: int, width: int, rng: np.random.Generator) -> Image:
    """Smooth noise in about [-1, 1], float32 [height, width]."""
    total = np.zeros((height, width), dtype=np.float32)
    for cells, weight in ((3, 0.6), (6, 0.3), (12, 0.1)):
        knots = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
        total += np.float32(weight) * cv2.resize(knots, (width, height), interpolation=cv2.INTER_CUBIC)
    return total


_SHIFTS: Mapping[str, Callable[[Image, float, np.random.Generator], Image]] = {
    "night": _night,
    "fog": _fog,
    "blur": _blur,
    "sensor-noise": _sensor_noise,
    "jpeg": _jpeg,
    "camera": _camera,
    "low-resolution": _low_resolution,
    "glare": _glare,
}
