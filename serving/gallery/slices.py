"""Slices of a scan as PNG, and of its mask as a layer of the same size, for browsers without WebGL."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import nibabel as nib
import numpy as np

from registry.contract import catalog
from registry.core.errors import BadInput, NotFound
from registry.core.media import MAX_CASE_VOXELS, ByteArray, FloatArray, Volume
from registry.vision.hanging import Hanging
from serving.runs import files
from serving.runs.models import Run

MASK_RGB = (255, 170, 60)
NAMES = ("sagittal", "coronal", "axial")
KEPT_VOXELS = 1 << 26
"""Larger scans are decoded anew for each slice: two of them kept would be half a GiB."""
_SAMPLED = 200_000
_one_at_a_time = threading.Lock()


@dataclass(frozen=True, eq=False)
class Scan:
    """A scan and its mask.

    Attributes:
        mask: uint8 [X, Y, Z], in the scan's own voxels.
        least, most: intensities.
    """

    volume: Volume
    mask: ByteArray
    least: float
    most: float


def scan_of(run: Run) -> Scan:
    """Raises NotFound where the run has no scan, or no mask."""
    with _one_at_a_time:
        found = _kept(run.id, run.model)
        if found.mask.size > KEPT_VOXELS:
            _kept.cache_clear()
        return found


@lru_cache(maxsize=2)
def _kept(run_id: str, model: str) -> Scan:
    spec = catalog.get(model)
    try:
        volume = spec.inference.decode(files.read(run_id, files.INPUT), MAX_CASE_VOXELS)
        mask = spec.score.truth(files.read(run_id, files.MASK)).mask
    except FileNotFoundError as error:
        raise NotFound("this result has no mask of a scan", expected="the result of a scan") from error
    return Scan(volume, mask, float(volume.voxels.min()), float(volume.voxels.max()))


def about(scan: Scan) -> dict[str, Any]:
    """For the viewer: the axes that it can be cut across, what each edge faces, and the window to begin with.

    `low` and `high` are in percent of the way from the least intensity to the greatest.
    """
    low, high = _window(scan.volume.voxels)
    span = (scan.most - scan.least) or 1.0
    orientation = nib.orientations.io_orientation(scan.volume.affine)
    axes = []
    for axis in range(3) if scan.volume.ndim == 3 else (2,):
        view = Hanging(scan.volume, axis)
        areas = np.count_nonzero(scan.mask, axis=tuple(a for a in range(3) if a != axis))
        slices = scan.volume.voxels.shape[axis]
        axes.append(
            {
                "axis": axis,
                "name": NAMES[int(orientation[axis, 0])],
                "slices": slices,
                "first": int(areas.argmax()) if areas.any() else slices // 2,
                **{side: getattr(view, side) for side in ("top", "right", "bottom", "left")},
            }
        )
    return {"axes": axes, "low": 100 * (low - scan.least) / span, "high": 100 * (high - scan.least) / span}


def png(scan: Scan, axis: int, number: int, asked: Mapping[str, str]) -> bytes:
    """A slice as PNG: grey, or with `mask` in `asked` its mask, transparent where there is none.

    Args:
        asked: `low` and `high` of the window, as in `about`; `mask`; `outline`: of the mask its edge only.

    Raises:
        NotFound: there is no such slice.
        BadInput: the window is no pair of numbers.
    """
    if not 0 <= axis < 3 or not 0 <= number < scan.volume.voxels.shape[axis]:
        raise NotFound("the scan has no such slice", expected=f"axes 0 to 2 of {scan.volume.voxels.shape}")
    view = Hanging(scan.volume, axis)
    if "mask" in asked:
        return _encoded(_layer(view.of(scan.mask, number, cv2.INTER_NEAREST) > 0, "outline" in asked))
    try:
        low, high = float(asked.get("low", 0)), float(asked.get("high", 100))
    except ValueError as error:
        raise BadInput("the window is no pair of numbers", expected="low and high in percent") from error
    span = scan.most - scan.least
    dark, bright = scan.least + low / 100 * span, scan.least + max(high, low + 0.5) / 100 * span
    grey = (view.of(scan.volume.voxels, number, cv2.INTER_NEAREST) - dark) / ((bright - dark) or 1.0)
    return _encoded(np.rint(255 * np.clip(grey, 0, 1)).astype(np.uint8))


def _layer(mask: np.ndarray, outline: bool) -> np.ndarray:
    """bool [H, W] -> uint8 [H, W, 4] BGRA."""
    shown = mask.astype(np.uint8)
    if outline:
        shown = shown - cv2.erode(shown, np.ones((5, 5), np.uint8))
    layer = np.zeros((*mask.shape, 4), np.uint8)
    layer[shown > 0] = (*MASK_RGB[::-1], 255)
    return layer


def _encoded(pixels: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1])


def _window(voxels: FloatArray) -> tuple[float, float]:
    """The intensities between which nearly all voxels lie."""
    flat = voxels.ravel(order="K")
    low, high = np.percentile(flat[:: max(1, flat.size // _SAMPLED) | 1], (0.5, 99.7))
    return (float(low), float(high)) if high > low else (float(flat.min()), float(flat.max()))
