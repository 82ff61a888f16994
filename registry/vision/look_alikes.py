"""Finds pictures that show the same: re-encoded, resized, or a little brighter.

Two steps. Pairs whose 64-bit difference hashes (dHash, Krawetz 2013) differ in few bits are candidates. A candidate is
the same picture if 32 x 32 thumbnails correlate almost perfectly. By the hash alone, all pictures of one generator or
one fixed camera would be the same. By hand: imagehash needs SciPy, imagededup PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 32
MAX_DISTANCE = 10
"""How many of 64 bits may differ in a pair whose thumbnails are compared."""

MIN_CORRELATION = 0.99
"""Least correlation of thumbnails of the same picture; brightness, contrast and colour cast are taken out."""

_ROWS = 256  # compared at once with all others: 256 x 20,000 distances are 40 MB
_COLUMNS = 1024  # thumbnails that are compared with those rows at once: 13 MB
_FEW = 16  # pairs a row; for more of them one multiplication of matrices is faster


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """Of a picture.

    Attributes:
        bits: the dHash.
        thumb: float16 [SIDE * SIDE * 3], of mean 0 in each channel and of length 1; zeros for a flat picture.
    """

    bits: int
    thumb: NDArray[np.float16]


def fingerprint(pixels: NDArray[np.uint8]) -> Fingerprint:
    """The fingerprint of uint8 [H, W, 3] BGR."""
    small = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    grey = cv2.resize(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), (9, 8), interpolation=cv2.INTER_AREA)
    rising = np.packbits(grey[:, 1:] > grey[:, :-1])
    thumb = (small - small.mean(axis=(0, 1))).ravel()
    length = float(np.linalg.norm(thumb))
    even = thumb / length if length > SIDE else np.zeros_like(thumb)
    return Fingerprint(int(rising.view(">u8")[0]), even.astype(np.float16))


def pairs(left: Sequence[Fingerprint], right: Sequence[Fingerprint]) -> Iterator[tuple[int, int]]:
    """Pairs (index in `left`, index in `right`) that show the same picture."""
    for rows, columns, likeness in candidates(left, right):
        for n in np.flatnonzero(likeness >= MIN_CORRELATION):
            yield int(rows[n]), int(columns[n])


Indices = NDArray[np.intp]


def candidates(
    left: Sequence[Fingerprint], right: Sequence[Fingerprint]
) -> Iterator[tuple[Indices, Indices, NDArray[np.float32]]]:
    """Pairs with near hashes, block by block of `left`: indices in `left` and `right`, and the correlation."""
    if not left or not right:
        return
    others = np.array([one.bits for one in right], dtype=np.uint64)
    for start in range(0, len(left), _ROWS):
        mine = left[start : start + _ROWS]
        bits = np.array([one.bits for one in mine], dtype=np.uint64)
        rows, columns = np.nonzero(np.bitwise_count(bits[:, None] ^ others[None, :]) <= MAX_DISTANCE)
        if len(rows):
            yield start + rows, columns, _likeness(mine, right, rows, columns)


def _likeness(
    left: Sequence[Fingerprint], right: Sequence[Fingerprint], rows: Indices, columns: Indices
) -> NDArray[np.float32]:
    """The correlation of each pair's thumbnails."""
    used, place = np.unique(columns, return_inverse=True)
    first = np.stack([one.thumb for one in left]).astype(np.float32)
    likeness = np.empty(len(rows), dtype=np.float32)
    for start in range(0, len(used), _COLUMNS):
        second = np.stack([right[n].thumb for n in used[start : start + _COLUMNS]]).astype(np.float32)
        pairs = np.flatnonzero((place >= start) & (place < start + _COLUMNS))
        mine, others = rows[pairs], place[pairs] - start
        if len(pairs) <= _FEW * len(left):
            likeness[pairs] = np.einsum("ij,ij->i", first[mine], second[others])
        else:
            likeness[pairs] = (first @ second.T)[mine, others]
    return likeness
