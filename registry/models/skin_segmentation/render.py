"""What people and programs get back: the mask as NIfTI, and pictures of a slice as a radiologist would hang it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np

from registry.contract.parts import RenderPart
from registry.core.media import ByteArray, FloatArray, Volume
from registry.models.skin_segmentation import inference, nifti
from registry.models.skin_segmentation.inference import SkinResult
from registry.vision import drawing
from registry.vision.hanging import Hanging
from registry.vision_tasks import masks
from registry.vision_tasks.masks import TrueMask

PREDICTED, TRUE = (60, 170, 255), (120, 230, 60)  # BGR: orange and green, told apart also by the colour-blind
PAPER = (24, 24, 24)
_GAMMA = np.asarray(255 * np.linspace(0, 1, 256) ** 0.8, dtype=np.uint8)  # lifts the dark tissues a little


def _best_slice(sample: Volume, axis: int, mask: ByteArray | None) -> int:
    if mask is None or not mask.any():
        return sample.voxels.shape[axis] // 2
    return int(np.count_nonzero(mask, axis=tuple(a for a in range(3) if a != axis)).argmax())


def _flags(mask: FloatArray) -> ByteArray:
    return (mask > 0.5).astype(np.uint8)


def _framed(canvas: np.ndarray, view: Hanging, legend: list[tuple[str, tuple[int, int, int]]], note: str) -> np.ndarray:
    height, width = canvas.shape[:2]
    for letter, at in (
        (view.left, (8, height // 2 + 6)),
        (view.right, (width - 22, height // 2 + 6)),
        (view.top, (width // 2 - 6, 22)),
        (view.bottom, (width // 2 - 6, height - 10)),
    ):
        cv2.putText(canvas, letter, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, PAPER, 3, cv2.LINE_AA)  # legible on white, too
        _write(canvas, letter, at, (230, 230, 230))
    full = max(width, drawing.STRIP_WIDTH)
    strip = np.full((drawing.STRIP, full, 3), PAPER, dtype=np.uint8)
    left = 12
    for name, colour in legend:
        cv2.rectangle(strip, (left, 11), (left + 12, 23), colour, -1)
        _write(strip, name, (left + 20, 22), (230, 230, 230))
        left += 36 + _wide(name)
    _write(strip, note, (full - 12 - _wide(note), 22), (230, 230, 230))
    sides = (full - width) // 2
    body = cv2.copyMakeBorder(canvas, 0, 0, sides, full - width - sides, cv2.BORDER_CONSTANT, value=PAPER)
    return np.vstack([body, strip])


def _wide(text: str) -> int:
    return cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0]


def _write(image: np.ndarray, text: str, at: tuple[int, int], colour: tuple[int, int, int]) -> Any:
    return cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)


class SkinRender(RenderPart):
    """The mask as NIfTI, or drawn over the slice that holds most of it."""

    @property
    def FORMATS(self) -> Mapping[str, Callable[[Any, Any], bytes]]:
        return {
            "application/x-nifti": lambda sample, result: nifti.write_mask(result.mask, sample),
            "image/jpeg": self.picture,
        }

    def picture(self, sample: Volume, result: SkinResult | None = None, truth: TrueMask | None = None) -> bytes:
        """A JPEG of one slice: prediction filled and outlined in orange, truth outlined in green."""
        axis = inference.slice_axis(sample)
        predicted = result.mask if result is not None else None
        true = truth.mask if truth is not None and truth.mask.shape == sample.voxels.shape else None
        number = _best_slice(sample, axis, predicted if predicted is not None and predicted.any() else true)
        view = Hanging(sample, axis)
        low, high = inference.window(sample, 0.5, 99.7)
        grey = cv2.convertScaleAbs(
            np.clip(view.of(sample.voxels, number), low, high) - low, None, 255 / max(high - low, 1e-6)
        )
        canvas = cv2.cvtColor(cv2.LUT(grey, _GAMMA), cv2.COLOR_GRAY2BGR)
        legend = []
        if true is not None:
            masks.outline(canvas, _flags(view.of(true, number)), TRUE)
            legend.append(("truth", TRUE))
        if predicted is not None:
            masks.fill(canvas, _flags(view.of(predicted, number)), PREDICTED)
            legend.append(("predicted skin" if true is not None else "skin", PREDICTED))
        count = sample.voxels.shape[axis]
        notes = [f"slice {number + 1} of {count}"] if count > 1 else []
        if predicted is not None:
            notes.append(f"{100 * float((predicted > 0).mean()):.1f} % skin")
        ok, encoded = cv2.imencode(
            ".jpg", _framed(canvas, view, legend, ", ".join(notes)), [cv2.IMWRITE_JPEG_QUALITY, 88]
        )
        assert ok, "OpenCV could not encode a JPEG"
        return bytes(encoded)

    def upright(self, pixels: ByteArray, sample: Volume) -> ByteArray:
        """A slice in the order of its voxels (as the network sees it) -> hung as `picture` hangs it, of its size."""
        view = Hanging(sample, inference.slice_axis(sample))
        hung = cv2.resize(view.hung(pixels), view.size, interpolation=cv2.INTER_LINEAR)
        return np.asarray(hung, dtype=np.uint8)
