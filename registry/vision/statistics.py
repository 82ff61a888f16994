"""Statistics of a picture that change with the camera, the light or the transport, whatever the picture shows."""

from __future__ import annotations

import math
from collections.abc import Mapping

import cv2
import numpy as np

from registry.core.media import ByteArray, Picture

PLAUSIBLE: Mapping[str, tuple[float, float, str]] = {
    "brightness": (0.015, 0.985, "black or overexposed all over: is the lens covered, or the exposure broken?"),
    "contrast": (0.008, 1.0, "blank: all of one colour"),
}
"""Statistic -> its plausible range, and what is wrong with a picture outside of it: it is broken, not new."""

_TILE, _GRID = 176, 3  # texture of larger pictures is measured on 3 x 3 tiles of 176 x 176 pixels
_SECOND_DIFFERENCE = np.array([1, -2, 1], dtype=np.float32)


def image_statistics(sample: Picture) -> dict[str, float]:
    """`InferencePart.image_statistics` for models of pictures."""
    return picture_statistics(sample.pixels)


def picture_statistics(pixels: ByteArray) -> dict[str, float]:
    """Finite statistics of uint8 [H, W, 3] BGR; the same names for every picture.

    - `brightness`, `contrast`: mean and standard deviation of the luma, in [0, 1]
    - `dark_share`, `bright_share`: share of pixels below 5 % and above 95 %
    - `saturation`: mean of (max - min) / max over the channels
    - `warmth`, `tint`: log of red to blue, and of green to the mean of both
    - `vignetting`: log of the corners' brightness to the centre's
    - `noise`: standard deviation of the fine grain in grey levels (Immerkaer, Fast Noise Variance Estimation, 1996,
      with the median of the responses instead of their mean: edges are not noise)
    - `sharpness`: standard deviation of the Laplacian to that of the luma
    - `blockiness`: log of the steps across the borders of JPEG's 8 x 8 blocks to those elsewhere

    Colour is measured on a sparse grid of pixels, texture at full resolution (on tiles above 0.28 megapixels).
    """
    height, width = pixels.shape[:2]
    step = max(1, math.isqrt(height * width // 40_000))
    sparse = np.ascontiguousarray(pixels[step // 2 :: step, step // 2 :: step])
    if not sparse.size:
        sparse = pixels
    return _light(sparse) | _texture(pixels)


def _light(sparse: ByteArray) -> dict[str, float]:
    luma = cv2.cvtColor(sparse, cv2.COLOR_BGR2GRAY)
    mean, deviation = cv2.meanStdDev(luma)
    shares = cv2.calcHist([luma], [0], None, [256], [0, 256]).ravel() / luma.size
    blue, green, red, _ = (value + 1.0 for value in cv2.mean(sparse))
    saturation = cv2.mean(cv2.cvtColor(sparse, cv2.COLOR_BGR2HSV))[1]
    return {
        "brightness": float(mean[0, 0]) / 255,
        "contrast": float(deviation[0, 0]) / 255,
        "dark_share": float(shares[:13].sum()),
        "bright_share": float(shares[243:].sum()),
        "saturation": saturation / 255,
        "warmth": math.log(red / blue),
        "tint": math.log(green / ((red + blue) / 2)),
        "vignetting": _vignetting(luma),
    }


def _vignetting(luma: ByteArray) -> float:
    height, width = luma.shape
    a, b = max(1, height // 5), max(1, width // 5)
    corners = [luma[:a, :b], luma[:a, -b:], luma[-a:, :b], luma[-a:, -b:]]
    centre = luma[2 * a : max(2 * a + 1, height - 2 * a), 2 * b : max(2 * b + 1, width - 2 * b)]
    middle = float(centre.mean()) if centre.size else float(luma.mean())
    return math.log((float(np.mean([corner.mean() for corner in corners])) + 1) / (middle + 1))


def _texture(pixels: ByteArray) -> dict[str, float]:
    grain = np.zeros(256)
    laplacian, spread, border, inside = [], [], [], []
    for tile in _tiles(pixels):
        luma = cv2.cvtColor(tile, cv2.COLOR_BGR2GRAY)
        response = cv2.sepFilter2D(luma, cv2.CV_16S, _SECOND_DIFFERENCE, _SECOND_DIFFERENCE)
        grain += cv2.calcHist([cv2.convertScaleAbs(response)], [0], None, [256], [0, 256]).ravel()
        laplacian.append(float(cv2.meanStdDev(cv2.Laplacian(luma, cv2.CV_16S))[1][0, 0]))
        spread.append(float(cv2.meanStdDev(luma)[1][0, 0]))
        if luma.shape[1] > 16:
            steps = cv2.reduce(cv2.absdiff(luma[:, 1:], luma[:, :-1]), 0, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel()
            border.append(float(steps[7::8].mean()))
            inside.append(float(np.delete(steps, np.s_[7::8]).mean()))
    return {
        # The filter's gain is 6 for white noise, and a normal variable's median magnitude is 0.6745 deviations.
        "noise": _median(grain) / (6 * 0.6745),
        "sharpness": float(np.mean(laplacian)) / (float(np.mean(spread)) + 1),
        "blockiness": math.log((np.mean(border) + 0.2) / (np.mean(inside) + 0.2)) if border else 0.0,
    }


def _tiles(pixels: ByteArray) -> list[ByteArray]:
    """Aligned to JPEG's blocks."""
    height, width = pixels.shape[:2]
    if height * width <= (_TILE * _GRID) ** 2 or min(height, width) < _TILE:
        return [pixels]
    tops, lefts = (np.linspace(0, edge - _TILE, _GRID).astype(int) // 8 * 8 for edge in (height, width))
    return [pixels[top : top + _TILE, left : left + _TILE] for top in tops for left in lefts]


def _median(histogram: np.ndarray) -> float:
    """The median of integers, given their counts; interpolated within a value, so that it moves smoothly."""
    below = np.cumsum(histogram)
    half = below[-1] / 2
    at = int(np.searchsorted(below, half))
    before = below[at - 1] if at else 0.0
    return float(max(0.0, at - 0.5 + (half - before) / max(histogram[at], 1.0)))
