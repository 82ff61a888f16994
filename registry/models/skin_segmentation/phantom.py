"""MRI-like phantoms: a limb's cross-section in a high-resolution surface coil, with its exact skin mask.

Outside in: epidermis, dermis, fat, muscle, bones, vessels. Dermis and muscle overlap in intensity, fat may be
suppressed, and a damp wrapping runs along part of the skin at its brightness: a threshold does not find the skin.
All numbers are float64 and end in whole intensities, so that a seed gives the same phantom on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

Image = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Phantom:
    """Attributes: voxels int16 and mask uint8 [X, Y, Z]; affine float64 [4, 4] in mm; ndim 2 or 3."""

    voxels: NDArray[np.int16]
    mask: NDArray[np.uint8]
    affine: NDArray[np.float64]
    ndim: int


@dataclass(frozen=True)
class _Tissue:
    """Intensities of one scan, about 0 to 1000."""

    epidermis: float
    dermis: float
    fat: float
    muscle: float
    marrow: float
    cortex: float
    vessel: float
    wrap: float


def make(rng: np.random.Generator, ndim: int) -> Phantom:
    """One limb; 2-D, or 3-D with 8 to 12 thick slices."""
    limb = _Limb(rng)
    depth = int(rng.integers(8, 13)) if ndim == 3 else 1
    thickness = float(rng.uniform(1.5, 3.0))
    layers = [limb.slice((n - (depth - 1) / 2) * thickness) for n in range(depth)]
    clean = np.stack([image for image, _ in layers], axis=2)
    mask = np.stack([skin for _, skin in layers], axis=2)
    lit = clean * _bias(rng, clean.shape)
    sigma = rng.uniform(8, 32)
    noisy = np.hypot(lit + rng.normal(0, sigma, lit.shape), rng.normal(0, sigma, lit.shape))  # Rician
    voxels = np.rint(np.clip(noisy * rng.uniform(0.4, 3.0), 0, 32000)).astype(np.int16)
    affine = _placed(rng, (*limb.pixel_mm, thickness), voxels.shape)
    return _turned(rng, Phantom(voxels, mask.astype(np.uint8), affine, ndim))


class _Limb:
    """The anatomy of one case; `slice` cuts it at a height in millimetres."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.columns, self.rows = (int(n) for n in rng.integers(116, 161, 2))
        view = rng.uniform(42, 60)  # field of view, mm
        stretch = rng.uniform(0.9, 1.1)
        self.pixel_mm = (view / self.columns * stretch, view / self.rows / stretch)
        self.view = view
        self.radius = view * rng.uniform(0.29, 0.37)
        self.centre = rng.uniform(-0.05, 0.05, 2) * view
        self.lean = rng.uniform(-0.06, 0.06, 2)  # mm sideways per mm of height
        self.taper = rng.uniform(-0.006, 0.006)
        self.waves = rng.uniform(-1, 1, (4, 2)) * np.array([[0.11], [0.035], [0.02], [0.012]])
        self.skin = view * rng.uniform(0.045, 0.066)
        self.skin_waves = rng.uniform(-1, 1, (3, 2)) * np.array([[0.22], [0.1], [0.06]])
        self.fat = self.radius * rng.uniform(0.06, 0.2)
        self.fat_waves = rng.uniform(-1, 1, (3, 2)) * np.array([[0.35], [0.25], [0.1]])
        self.tissue = _tissue(rng)
        self.bones = [
            (angle, distance * self.radius, size * self.radius)
            for angle, distance, size in zip(
                rng.uniform(0, 2 * np.pi) + np.array([0, np.pi]) + rng.uniform(-0.4, 0.4, 2),
                rng.uniform(0.15, 0.32, 2),
                rng.uniform(0.14, 0.24, 2),
                strict=True,
            )
        ][: int(rng.integers(1, 3))]
        count = int(rng.integers(3, 8))
        self.vessels = list(
            zip(rng.uniform(0, 2 * np.pi, count), rng.uniform(0.5, 0.8, count) * self.radius,
                rng.uniform(0.4, 1.1, count), strict=True)
        )  # fmt: skip
        self.septa = rng.uniform(0, 2 * np.pi, int(rng.integers(2, 6)))
        self.grain = gaussian_filter(rng.normal(size=(self.columns, self.rows)), 1.5) * 5
        self.wrap = _Wrap(rng, self.skin) if rng.random() < 0.7 else None
        self.pad = (rng.uniform(0, 2 * np.pi), rng.uniform(100, 700)) if rng.random() < 0.5 else None
        self.markers = [
            (rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 1.8), rng.uniform(500, 1000))
            for _ in range(int(rng.integers(0, 3)))
        ]

    def slice(self, height: float) -> tuple[Image, NDArray[np.bool_]]:
        """Intensities and skin mask [X, Y] at `height` mm above the middle."""
        x, y = np.meshgrid(
            (np.arange(self.columns) - (self.columns - 1) / 2) * self.pixel_mm[0],
            (np.arange(self.rows) - (self.rows - 1) / 2) * self.pixel_mm[1],
            indexing="ij",
        )
        x, y = x - self.centre[0] - self.lean[0] * height, y - self.centre[1] - self.lean[1] * height
        angle, far = np.arctan2(y, x), np.hypot(x, y)
        outline = self.radius * (1 + self.taper * height) * (1 + _waves(self.waves, angle, first=2, height=height))
        slope = np.gradient(_waves(self.waves, np.linspace(-np.pi, np.pi, 721), 2, height), 2 * np.pi / 720)
        # Depth below the surface along its normal: the radial gap times the cosine of the angle between the two.
        depth = (outline - far) / np.hypot(1, np.interp(angle, np.linspace(-np.pi, np.pi, 721), slope))
        skin = self.skin * (1 + _waves(self.skin_waves, angle, 1, height))
        fat = np.maximum(self.fat * (1 + _waves(self.fat_waves, angle, 1, height)), 0.4)
        image = self._inside(x, y, angle, depth, skin, fat, height)
        outside = self._outside(x, y, angle, depth)
        image = np.where(depth < 0, outside, image)
        return gaussian_filter(image, 0.55), (depth >= 0) & (depth < skin)

    def _inside(self, x: Image, y: Image, angle: Image, depth: Image, skin: Image, fat: Image, height: float) -> Image:
        tissue = self.tissue
        image = np.where(depth < 0.2 * skin, tissue.epidermis, tissue.dermis) * (1 + 0.05 * self.grain)
        image = np.where(depth >= skin, tissue.fat * (1 + 0.03 * self.grain), image)
        muscle = tissue.muscle * (1 + 0.09 * self.grain)
        for septum in self.septa:
            off = np.abs(np.sin(angle - septum - 0.15 * np.sin(2.5 * depth / self.radius))) * (self.radius - depth)
            muscle = np.where(
                (off < 0.28) & (np.cos(angle - septum) > 0), 0.5 * tissue.muscle + 0.4 * tissue.fat, muscle
            )
        image = np.where(depth >= skin + fat, muscle, image)
        for at, away, size in self.bones:
            gone = np.hypot(x - away * np.cos(at), y - away * np.sin(at) * 0.9)
            gone = gone - 0.05 * size * np.sin(3 * angle + at)
            image = np.where(gone < size, tissue.cortex, image)
            image = np.where(gone < 0.78 * size, tissue.marrow * (1 + 0.05 * self.grain), image)
        for at, away, size in self.vessels:
            turn = at + 0.03 * height
            inside = np.hypot(x - away * np.cos(turn), y - away * np.sin(turn)) < size
            image = np.where(inside & (depth > skin), tissue.vessel, image)
        return image

    def _outside(self, x: Image, y: Image, angle: Image, depth: Image) -> Image:
        image = np.full(x.shape, 4.0)
        out = -depth
        if self.pad is not None:
            at, level = self.pad
            along, across = x * np.cos(at) + y * np.sin(at), -x * np.sin(at) + y * np.cos(at)
            board = (along > 1.32 * self.radius) & (along < 1.5 * self.radius) & (np.abs(across) < 0.9 * self.radius)
            image = np.where(board, level * (1 + 0.1 * self.grain), image)
        if self.wrap is not None:
            image = np.where(self.wrap.covers(angle, out), self.tissue.wrap * self.wrap.weave(angle, self.grain), image)
        for at, size, level in self.markers:
            away = self.radius * 1.02 + 2 * size + self.skin * 0.5
            image = np.where(np.hypot(x - away * np.cos(at), y - away * np.sin(at)) < size, level, image)
        return image


class _Wrap:
    """A damp bandage along an arc of the limb, a hair's breadth off the skin."""

    def __init__(self, rng: np.random.Generator, skin: float) -> None:
        self.middle, self.half = rng.uniform(-np.pi, np.pi), rng.uniform(0.5, 1.6)
        self.gap, self.thick = rng.uniform(0.18, 0.4) * skin, rng.uniform(0.5, 1.1) * skin
        self.lift, self.threads = rng.uniform(0, 0.5) * skin, float(rng.integers(40, 90))

    def covers(self, angle: Image, out: Image) -> NDArray[np.bool_]:
        off = np.angle(np.exp(1j * (angle - self.middle)))
        gap = self.gap + self.lift * (off / self.half) ** 2
        return (np.abs(off) < self.half) & (out > gap) & (out < gap + self.thick)

    def weave(self, angle: Image, grain: Image) -> Image:
        return 1 + 0.12 * np.sin(self.threads * angle) + 0.08 * grain


def _tissue(rng: np.random.Generator) -> _Tissue:
    dermis = rng.uniform(380, 720)
    suppressed = rng.random() < 0.25
    fat = rng.uniform(120, 240) if suppressed else rng.uniform(820, 1000)
    return _Tissue(
        epidermis=dermis * rng.uniform(1.1, 1.35),
        dermis=dermis,
        fat=fat,
        muscle=rng.uniform(300, 620),
        marrow=fat * rng.uniform(0.85, 1.05),
        cortex=rng.uniform(30, 110),
        vessel=rng.uniform(20, 120) if rng.random() < 0.5 else rng.uniform(800, 1000),
        wrap=dermis * rng.uniform(0.75, 1.3),
    )


def _waves(amplitudes: Image, angle: Image, first: int, height: float) -> Image:
    """A smooth periodic function: cosines and sines of order `first` and up, turning slowly with height."""
    turned = angle + 0.012 * height
    return np.sum(
        [a * np.cos((first + k) * turned) + b * np.sin((first + k) * turned) for k, (a, b) in enumerate(amplitudes)],
        axis=0,
    )


def _bias(rng: np.random.Generator, shape: tuple[int, ...]) -> Image:
    """The mild shading of a good coil: exp of a quadratic, within about 25 %."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape), indexing="ij")
    linear = sum(rng.uniform(-0.13, 0.13) * axis for axis in axes)
    bowl = rng.uniform(-0.12, 0.06) * (axes[0] ** 2 + axes[1] ** 2)
    return np.asarray(np.exp(linear + bowl))


def _placed(rng: np.random.Generator, spacing: tuple[float, float, float], shape: tuple[int, ...]) -> Image:
    """An affine that puts the middle of the grid near the scanner's centre; every second scan is oblique."""
    tilt = rng.uniform(-25, 25, 3) * (rng.random() < 0.5)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", tilt, degrees=True).as_matrix() * np.asarray(spacing)
    affine[:3, 3] = rng.uniform(-60, 60, 3) - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return np.round(affine, 6)  # below this, machines may differ


def _turned(rng: np.random.Generator, phantom: Phantom) -> Phantom:
    """The same limb, stored with its axes in another order and direction; in space nothing moves."""
    order = list(rng.permutation(3)) if phantom.ndim == 3 else [*rng.permutation(2), 2]
    flips = rng.random(3) < 0.5
    flips[2] &= phantom.ndim == 3
    voxels, mask = phantom.voxels.transpose(order), phantom.mask.transpose(order)
    affine = phantom.affine.copy()
    affine[:3, :3] = phantom.affine[:3, :3][:, order]
    for axis in (int(a) for a in np.flatnonzero(flips)):
        voxels, mask = np.flip(voxels, axis), np.flip(mask, axis)
        affine[:3, 3] += affine[:3, axis] * (voxels.shape[axis] - 1)
        affine[:3, axis] *= -1
    return Phantom(np.ascontiguousarray(voxels), np.ascontiguousarray(mask), np.round(affine, 6), phantom.ndim)
