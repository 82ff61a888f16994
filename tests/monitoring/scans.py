"""Scans as callers send them, and masks as radiologists give them."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import nibabel as nib
import numpy as np

from tests.bundles import AFFINE, make_scan

Send = Callable[..., list[str]]
"""Predicts inputs and logs them, as the service does; returns the ids."""


def scans(count: int, first: int = 5000, **changes: float) -> list[bytes]:
    return [make_scan(first + n, (64, 48), **changes) for n in range(count)]


def inverted(body: bytes) -> bytes:
    image = nib.Nifti1Image.from_bytes(gzip.decompress(body))
    voxels = np.asarray(image.dataobj)
    return gzip.compress(nib.Nifti1Image(voxels.max() - voxels, image.affine).to_bytes(), mtime=0)


def mask(shape: tuple[int, ...] = (64, 48), full: bool = False) -> bytes:
    voxels = np.full(shape, int(full), np.uint8)
    voxels[20:40, 15:30] = 1
    return nib.Nifti1Image(voxels, AFFINE).to_bytes()
