"""Bytes -> volume -> slices -> mask. Training, evaluation and serving all go through here.

A volume is cut into slices across its coarsest axis (for a 2-D scan there is one), each slice is brought to its true
proportions, letterboxed into a square, and the network's logits are taken back the same way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from registry.contract.parts import InferencePart
from registry.core.errors import BadInput
from registry.core.media import ByteArray, FloatArray, Parameters, Prepared, Volume
from registry.models.skin_segmentation import nifti
from registry.vision_tasks import masks

Box = tuple[float, float, float, float]
DEFAULTS: dict[str, Any] = {"image_size": 128, "low_percentile": 1.0, "high_percentile": 99.5}
PLAUSIBLE: Mapping[str, tuple[float, float, str]] = {
    "polarity": (-1.0, 0.2, "the border is brighter than the middle, as where the grey scale is inverted"),
    "contrast": (0.01, 1.0, "the picture is (almost) constant"),
}
SAMPLED_VOXELS = 200_000  # enough for a percentile to three digits, whatever the volume's size


@dataclass(frozen=True)
class Frame:
    """How slices lie in the network's square. Slices are [H, W], cut across `axis` of [X, Y, Z].

    Attributes:
        rows, columns: of one slice in voxels.
        height, width: of the slice's picture inside the square, pixels.
        top, left: where that picture begins.
    """

    axis: int
    rows: int
    columns: int
    height: int
    width: int
    top: int
    left: int
    size: int

    @classmethod
    def of(cls, volume: Volume, size: int) -> Frame:
        axis = slice_axis(volume)
        first, second = (a for a in range(3) if a != axis)
        rows, columns = volume.voxels.shape[first], volume.voxels.shape[second]
        tall, wide = rows * volume.spacing[first], columns * volume.spacing[second]
        scale = size / max(tall, wide)
        height, width = max(1, round(tall * scale)), max(1, round(wide * scale))
        return cls(axis, rows, columns, height, width, (size - height) // 2, (size - width) // 2, size)

    def fit(self, slices: FloatArray) -> FloatArray:
        """float32 [N, H, W] -> [N, size, size], zeros around it."""
        out = np.zeros((len(slices), self.size, self.size), dtype=np.float32)
        shrinks = self.height < self.rows or self.width < self.columns
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        down, across = slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)
        for n, image in enumerate(slices):
            out[n, down, across] = cv2.resize(np.ascontiguousarray(image), (self.width, self.height), interpolation=how)
        return out

    def crop(self, squares: FloatArray) -> FloatArray:
        """[N, size, size] -> [N, height, width]."""
        return squares[:, self.top : self.top + self.height, self.left : self.left + self.width]

    def back(self, squares: FloatArray) -> FloatArray:
        """float32 [N, size, size] -> [N, H, W] in the volume's own voxels."""
        inner = self.crop(squares)
        out = np.empty((len(inner), self.rows, self.columns), dtype=np.float32)
        for n, image in enumerate(inner):
            out[n] = cv2.resize(np.ascontiguousarray(image), (self.columns, self.rows), interpolation=cv2.INTER_LINEAR)
        return out


@dataclass(frozen=True, eq=False)
class SkinResult:
    """A mask and what can be said of it.

    Attributes:
        mask: uint8 [X, Y, Z], 1 is skin, in the voxel grid of the input.
        spacing: voxel edges in millimetres.
        ndim: dimensions of the input, 2 or 3.
        axis: the axis across which slices were cut.
        affine: float64 [4, 4] of the input, voxel index to millimetres.
        measures: what `statistics` returns.
        notes: what had to be decided or put right about the input, for the answer.
    """

    mask: ByteArray
    spacing: tuple[float, float, float]
    ndim: int
    axis: int
    affine: NDArray[np.float64]
    measures: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, mask: ByteArray, sample: Volume, measures: Mapping[str, float] | None = None) -> SkinResult:
        """A mask of that scan."""
        axis = slice_axis(sample)
        return cls(mask, sample.spacing, sample.ndim, axis, sample.affine, measures or {}, sample.notes)

    def to_json(self) -> dict[str, Any]:
        """`volume_mm3` is `voxels` times `voxel_mm3`, and `spacing_mm` has the edges of a voxel, of a 2-D image its
        thickness too. A voxel of a sheared scan has less than the product of its edges."""
        voxels = int(np.count_nonzero(self.mask))
        first, second = (a for a in range(3) if a != self.axis)
        pixel_mm2, voxel_mm3 = self._sizes(first, second)
        areas = np.count_nonzero(self.mask, axis=(first, second)) * pixel_mm2
        answer = {
            "class": "skin",
            "foreground_share": voxels / self.mask.size,
            "volume_mm3": voxels * voxel_mm3,
            "voxels": voxels,
            "voxel_mm3": voxel_mm3,
            "shape": list(self.mask.shape[: self.ndim]),
            "spacing_mm": list(self.spacing),
            "slice_axis": self.axis,
            "slice_area_mm2": [round(float(area), 3) for area in areas],
            "mean_confidence": self.measures.get("confidence", 0.0),
        }
        return answer | ({"notes": list(self.notes)} if self.notes else {})

    def _sizes(self, first: int, second: int) -> tuple[float, float]:
        """Area of a slice's pixel in mm2, volume of a voxel in mm3. By hand: NumPy takes longer for three numbers."""
        (a, b, c), (d, e, f) = self.affine[:3, first].tolist(), self.affine[:3, second].tolist()
        normal = b * f - c * e, c * d - a * f, a * e - b * d
        across = self.affine[:3, self.axis].tolist()
        return math.hypot(*normal), abs(sum(one * other for one, other in zip(normal, across, strict=True)))

    def statistics(self) -> dict[str, float]:
        return dict(self.measures)


def slice_axis(volume: Volume) -> int:
    """The axis to cut across: Z of a 2-D scan, an axis of one voxel, else the coarsest; the last of equals."""
    if volume.ndim == 2:
        return 2
    single = [a for a in range(3) if volume.voxels.shape[a] == 1]
    if single:
        return single[-1]
    coarsest = max(volume.spacing)
    return max(a for a in range(3) if volume.spacing[a] >= 0.99 * coarsest)


def slices(voxels: np.ndarray, axis: int) -> np.ndarray:
    """[X, Y, Z] -> [N, H, W], a view."""
    return np.moveaxis(voxels, axis, 0)


def window(volume: Volume, low: float, high: float) -> tuple[float, float]:
    """The intensities at two percentiles, from at most `SAMPLED_VOXELS` voxels evenly spread; of an image that is
    nearly all one value, its least and greatest."""
    flat = volume.voxels.ravel(order="K")
    step = max(1, flat.size // SAMPLED_VOXELS)
    if step > 1 and step % 2 == 0:
        step += 1  # an odd stride does not fall into step with rows of even length
    a, b = np.percentile(flat[::step], (low, high))
    if a == b:
        a, b = flat.min(), flat.max()
    return float(a), float(b)


def prepare_truth(mask: ByteArray, prepared: Prepared) -> FloatArray:
    """A mask in the sample's voxel grid -> float32 [N, 1, size, size] of 0 and 1, as the network should answer."""
    frame: Frame = prepared.context[1]
    return (frame.fit(slices(mask, frame.axis).astype(np.float32)) >= 0.5).astype(np.float32)[:, None]


def _slice_statistics(image: np.ndarray, low: float, high: float) -> list[float]:
    step = max(1, round(max(image.shape) / 256))
    span = high - low
    if span <= 0:
        return [0.0] * 7
    x = np.clip((np.ascontiguousarray(image[::step, ::step]) - low) / span, 0, 1).astype(np.float32)
    # Immerkaer's mask: blind to edges of constant slope; its response to white noise has sigma * 6.
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
    noise = float(np.median(np.abs(cv2.filter2D(x, cv2.CV_32F, kernel)))) / 0.6745 / 6
    dx, dy = cv2.Sobel(x, cv2.CV_32F, 1, 0), cv2.Sobel(x, cv2.CV_32F, 0, 1)
    steep = np.percentile(cv2.magnitude(dx, dy), 95) / 8
    border = np.concatenate([x[:2].ravel(), x[-2:].ravel(), x[:, :2].ravel(), x[:, -2:].ravel()])
    h, w = x.shape
    middle = x[h // 4 : max(h - h // 4, h // 4 + 1), w // 4 : max(w - w // 4, w // 4 + 1)]
    polarity = float(np.median(border) - middle.mean())
    return [float(x.mean()), float(x.std()), float(np.median(x)), noise, float(steep), _shading(x), polarity]


def _shading(x: FloatArray) -> float:
    """Standard deviation over the picture of the smoothed log intensity of tissue."""
    small = cv2.resize(x, (32, 32), interpolation=cv2.INTER_AREA)
    tissue = (small > 0.04).astype(np.float32)
    if tissue.sum() < 16:
        return 0.0
    log = np.log(np.maximum(small, 0.04)) * tissue
    weight = cv2.GaussianBlur(tissue, (0, 0), 4)
    smooth = cv2.GaussianBlur(log, (0, 0), 4) / np.maximum(weight, 1e-3)
    return float(smooth[tissue > 0].std())


class SkinInference(InferencePart):
    """A scan of any shape, slice by slice."""

    PLAUSIBLE = PLAUSIBLE

    def decode(self, body: bytes, limit: int) -> Volume:
        """A .nii or .nii.gz, NIfTI-1 or -2, 2-D or 3-D, of at most `limit` voxels. Raises as `nifti.read`."""
        return nifti.read(body, limit)

    def preprocess(self, sample: Volume, constants: Parameters) -> Prepared:
        """float32 [N, 1, size, size]: percentiles of the whole volume become 0 and 1; a constant image, zeros."""
        low, high = window(sample, float(constants["low_percentile"]), float(constants["high_percentile"]))
        frame = Frame.of(sample, int(constants["image_size"]))
        cut = slices(sample.voxels, frame.axis)
        span = high - low
        scaled = np.clip((cut - low) * np.float32(1 / span), 0, 1) if span > 0 else np.zeros(cut.shape)
        return Prepared(frame.fit(np.asarray(scaled, dtype=np.float32))[:, None], (sample, frame))

    def postprocess(self, outputs: Mapping[str, np.ndarray], prepared: Prepared, thresholds: Parameters) -> SkinResult:
        """Output `mask` (logits, float32 [N, 1, size, size]) -> a mask in the sample's own voxels.

        A constant image has no skin, whatever the network makes of its zeros.
        """
        sample, frame = prepared.context
        logits = np.asarray(outputs["mask"], dtype=np.float32)[:, 0]
        if not prepared.batch.any():
            logits = np.full_like(logits, -20.0)
        cut = masks.logit(float(thresholds["probability"]))
        mask = np.moveaxis((frame.back(logits) > cut).astype(np.uint8), 0, frame.axis)
        return SkinResult.of(np.ascontiguousarray(mask), sample, masks.measures(frame.crop(logits), cut))

    def image_statistics(self, sample: Volume) -> dict[str, float]:
        """What the scanner did, from up to five slices of at most about 256 x 256 pixels, intensities in [0, 1].

        `noise` is the median absolute deviation of the Laplacian (after Immerkaer 1996, doi:10.1006/cviu.1996.0060);
        `shading` how unevenly tissue is lit over the picture; `polarity` is positive where the border is brighter than
        the middle, as in an inverted image.
        """
        axis = slice_axis(sample)
        stack = slices(sample.voxels, axis)
        chosen = stack[np.unique(np.linspace(0, len(stack) - 1, min(len(stack), 5)).round().astype(int))]
        low, high = window(sample, 1.0, 99.5)
        spacing = [sample.spacing[a] for a in range(3) if a != axis]
        rows = [_slice_statistics(one, low, high) for one in chosen]
        mean = np.mean(rows, axis=0)
        names = ("brightness", "contrast", "median", "noise", "sharpness", "shading", "polarity")
        numbers = {name: float(value) for name, value in zip(names, mean, strict=True)}
        return numbers | {
            "range_log10": math.log10(1 + high - low),
            "pixel_mm": math.sqrt(spacing[0] * spacing[1]),
            "aspect": max(spacing) / min(spacing),
        }

    def focus(self, sample: Volume, prepared: Prepared, result: SkinResult) -> tuple[int, ByteArray, Box]:
        """The slice with the most skin, as the network sees it.

        Raises:
            BadInput: there is no skin anywhere.
        """
        frame: Frame = prepared.context[1]
        areas = np.count_nonzero(slices(result.mask, frame.axis), axis=(1, 2))
        if not areas.any():
            raise BadInput(
                "no skin was found", expected="a scan with skin in it", fix="an answer of nothing has no explanation"
            )
        number = int(areas.argmax())
        seen = frame.crop(prepared.batch[number])[0]
        factor = max(1, round(640 / max(seen.shape)))
        large = cv2.resize(seen, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        grey = np.rint(255 * np.clip(large, 0, 1)).astype(np.uint8)
        box = (frame.left, frame.top, frame.left + frame.width, frame.top + frame.height)
        return number, np.repeat(grey[:, :, None], 3, axis=2), box

    def evidence(self, outputs: Mapping[str, np.ndarray], prepared: Prepared, result: SkinResult) -> FloatArray:
        """float32 [M]: the mean logit over what `result` calls skin in the slice that `focus` chose."""
        frame: Frame = prepared.context[1]
        cut = slices(result.mask, frame.axis)
        number = int(np.count_nonzero(cut, axis=(1, 2)).argmax())
        skin = frame.fit(cut[number : number + 1].astype(np.float32))[0]
        logits = np.asarray(outputs["mask"], dtype=np.float32)[:, 0]
        return np.asarray((logits * skin).sum(axis=(1, 2)) / skin.sum(), dtype=np.float32)
