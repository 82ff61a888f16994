"""What scanners do to images when something changes. Shapes, affine and data type stay: labels remain valid."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from registry.contract.parts import ShiftPart
from registry.core.errors import NotFound
from registry.core.media import MAX_CASE_VOXELS, Volume
from registry.models.skin_segmentation import inference, nifti

Image = NDArray[np.float64]


def _bias_field(volume: Volume, severity: float, rng: np.random.Generator) -> Image:
    """Times exp(-k d): d runs over the image from the coil's side, k up to 4.8. The brightest side keeps its level."""
    axis = inference.slice_axis(volume)
    voxels = volume.voxels.astype(np.float64)
    first, second = (a for a in range(3) if a != axis)
    turn = rng.uniform(0, 2 * np.pi)
    along = [np.linspace(-0.5, 0.5, voxels.shape[a]) for a in (first, second)]
    plane = np.cos(turn) * along[0][:, None] + np.sin(turn) * along[1][None, :]
    plane = (plane - plane.min()) / max(float(np.ptp(plane)), 1e-9)
    gain = np.exp(-4.8 * severity * rng.uniform(0.85, 1.0) * plane)
    floor = float(voxels.min())
    return floor + (voxels - floor) * np.expand_dims(gain, axis)


def _noise(volume: Volume, severity: float, rng: np.random.Generator) -> Image:
    low, high = inference.window(volume, 1, 99.5)
    sigma = 0.22 * severity * (high - low)
    real = volume.voxels - low + rng.normal(0, sigma, volume.voxels.shape)
    return low + np.hypot(real, rng.normal(0, sigma, volume.voxels.shape))


def _contrast(volume: Volume, severity: float, rng: np.random.Generator) -> Image:
    low, high = inference.window(volume, 1, 99.5)
    span = max(high - low, 1e-9)
    x = np.clip((volume.voxels.astype(np.float64) - low) / span, 0, 1.2)
    power = 1 + 2.5 * severity * rng.uniform(0.85, 1.0)
    return low + span * x**power


def _resolution(volume: Volume, severity: float, rng: np.random.Generator) -> Image:
    axis = inference.slice_axis(volume)
    factor = 1 + 4 * severity * rng.uniform(0.85, 1.0)
    shape = volume.voxels.shape
    coarse = [n if a == axis else max(2, round(n / factor)) for a, n in enumerate(shape)]
    sigma = [0.0 if a == axis else 0.42 * factor for a in range(3)]
    blurred = gaussian_filter(volume.voxels.astype(np.float64), sigma)
    small = zoom(blurred, [c / n for c, n in zip(coarse, shape, strict=True)], order=1, mode="nearest")
    return np.asarray(zoom(small, [n / c for c, n in zip(small.shape, shape, strict=True)], order=1, mode="nearest"))


def _inversion(volume: Volume, severity: float, rng: np.random.Generator) -> Image:
    """A blend from the image (severity 0) to its negative (severity 1)."""
    low, high = inference.window(volume, 0, 99.9)
    x = np.clip(volume.voxels.astype(np.float64), low, high)
    return (1 - severity) * x + severity * (low + high - x)


_SHIFTS: Mapping[str, tuple[Callable[[Volume, float, np.random.Generator], Image], str]] = {
    "bias-field": (
        _bias_field,
        "a surface coil that lights one side: intensity falls off exponentially across the image",
    ),
    "noise": (_noise, "a weaker field or a broken coil: Rician noise"),
    "contrast": (_contrast, "another sequence: intensities follow a power law"),
    "resolution": (_resolution, "a faster, coarser scan, interpolated back to the same grid"),
    "inversion": (_inversion, "the grey scale stored the other way round"),
}


class SkinShifts(ShiftPart):
    """Played by `visionloop break`."""

    HOW = {kind: says for kind, (_, says) in _SHIFTS.items()}  # noqa: RUF012

    def shift(self, body: bytes, how: str, severity: float, seed: int) -> bytes:
        """`body` (a NIfTI file) shifted by `severity` in (0, 1]; the same bytes for the same arguments.

        Raises:
            NotFound: there is no such shift.
            BadInput: as `nifti.read`; ValueError: a severity out of range.
        """
        if how not in _SHIFTS:
            raise NotFound(f"there is no shift {how!r}", expected=f"one of {', '.join(_SHIFTS)}")
        if not 0 < severity <= 1:
            raise ValueError(f"severity {severity} is not in (0, 1]")
        volume = nifti.read(body, MAX_CASE_VOXELS)
        rng = np.random.default_rng([seed, list(_SHIFTS).index(how)])
        shifted = _SHIFTS[how][0](volume, severity, rng)
        return nifti.write_like(shifted, volume, packed=body[:2] == nifti.GZIP)
