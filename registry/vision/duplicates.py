"""Pictures that are the same picture: re-encoded, resized, a little brighter.

Two steps: 64-bit difference hashes (dHash, Krawetz 2013) that differ in few bits make a pair worth a closer look,
and the pair is taken for one picture if 32 x 32 thumbnails correlate almost perfectly. The hash alone would call
pictures of one generator, or of one fixed camera, the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from registry.media import FloatArray

SIDE = 32
RADIUS = 10
"""Bits of 64 that may differ before thumbnails are compared at all."""

ALIKE = 0.99
"""Correlation of thumbnails (brightness, contrast and colour cast taken out) from which two pictures are one."""

_ROWS = 512  # of the table of distances at once: 512 x 20,000 distances are 80 MB


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """`bits`: the dHash. `thumb`: float32 [SIDE * SIDE * 3], each channel of mean 0, all of length 1; zeros if flat."""

    bits: int
    thumb: FloatArray


def fingerprint(pixels: NDArray[np.uint8]) -> Fingerprint:
    """Of a picture, uint8 [H, W, 3] BGR."""
    small = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    grey = cv2.resize(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), (9, 8), interpolation=cv2.INTER_AREA)
    rising = np.packbits(grey[:, 1:] > grey[:, :-1])
    thumb = (small - small.mean(axis=(0, 1))).ravel()
    length = float(np.linalg.norm(thumb))
    return Fingerprint(int(rising.view(">u8")[0]), thumb / length if length > SIDE else np.zeros_like(thumb))


def alike(left: Sequence[Fingerprint], right: Sequence[Fingerprint]) -> Iterator[tuple[int, int]]:
    """Pairs (index in `left`, index in `right`) that show the same picture."""
    if not left or not right:
        return
    others = np.array([one.bits for one in right], dtype=np.uint64)
    for start in range(0, len(left), _ROWS):
        mine = np.array([one.bits for one in left[start : start + _ROWS]], dtype=np.uint64)
        near = np.bitwise_count(mine[:, None] ^ others[None, :]) <= RADIUS
        for row, column in zip(*np.nonzero(near), strict=True):
            if float(left[start + row].thumb @ right[column].thumb) >= ALIKE:
                yield start + int(row), int(column)
