"""What every segmentation shares, of pictures or of scans: overlap with a true mask, statistics, drawing.

NumPy and OpenCV only. A mask is uint8 of the input's shape; 0: none of the classes, n: the n-th.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np

from registry.contract.parts import ScorePart
from registry.core.errors import BadInput
from registry.core.media import ByteArray, FloatArray
from registry.core.memo import remembered

if TYPE_CHECKING:
    from registry.contract.spec import ModelSpec

METRICS: Mapping[str, Callable[[int, int], float]] = {
    "dice": lambda both, total: 2 * both / total,
    "iou": lambda both, total: both / (total - both),
}
"""Name of the metric -> of how many voxels lie in both masks, and of the sum of their sizes."""

TINT = 0.28


class HasMask(Protocol):
    """A result, or a truth."""

    @property
    def mask(self) -> ByteArray: ...


@dataclass(frozen=True, eq=False)
class TrueMask:
    """A label. `mask`: see above."""

    mask: ByteArray


class CompactMask:
    """A result or a truth of which only a compressed mask is kept: a mask of 12 megapixels takes some 50 KB then, and a
    hundred cases fit into memory. `mask` unpacks it, and all else is asked of the whole one, made anew."""

    def __init__(self, whole: Any) -> None:
        self._shape = whole.mask.shape
        self._packed = zlib.compress(whole.mask.tobytes(), 1)
        self._rest = replace(whole, mask=whole.mask[:0].copy())

    @property
    def mask(self) -> ByteArray:
        return np.frombuffer(bytearray(zlib.decompress(self._packed)), np.uint8).reshape(self._shape)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(replace(self._rest, mask=self.mask), name)


def other_shape(label: tuple[int, ...], image: tuple[int, ...]) -> BadInput:
    """The error of a label that is not of its image's shape, [H, W] or [X, Y, Z]."""
    unit = "voxels" if len(label) == 3 else "pixels"
    told = [" x ".join(map(str, one if len(one) == 3 else one[::-1])) for one in (label, image)]
    return BadInput(
        f"the label has {told[0]} {unit}",
        expected=f"the image's {told[1]}",
        fix="draw the label on the image it belongs to",
    )


@remembered
def overlap(result: HasMask, true: HasMask) -> dict[int, tuple[int, int]]:
    """Class number -> voxels in both masks, and the sum of both sizes; without classes that neither has.

    Raises:
        BadInput: the masks are not of one shape.
    """
    mine, right = result.mask, true.mask
    if mine.shape != right.shape:
        raise other_shape(right.shape, mine.shape)
    found = {}
    for number in range(1, max(int(mine.max(initial=0)), int(right.max(initial=0))) + 1):
        ours, theirs = mine == number, right == number
        if total := np.count_nonzero(ours) + np.count_nonzero(theirs):
            found[number] = int(np.count_nonzero(ours & theirs)), int(total)
    return found


class MaskScore(ScorePart):
    """The metric that `spec.metric` names, one of `METRICS`: the mean over cases of the mean over a case's classes,
    those that are in its result or its truth. Two empty masks agree: 1, so every case is positive."""

    def __init__(self, spec: ModelSpec) -> None:
        self.classes = spec.classes
        self._measure = METRICS[spec.metric.name]
        self._mean_of_case = remembered(self._mean_of_classes)

    def compact(self, one: Any) -> Any:
        return CompactMask(one)

    def score(self, results: Sequence[HasMask], truths: Sequence[HasMask]) -> float:
        """Raises ValueError if there is no case, and BadInput as `overlap`."""
        if not results:
            raise ValueError("a metric of no cases is not defined")
        return float(np.mean([self._mean_of_case(result, true) for result, true in zip(results, truths, strict=True)]))

    def per_class(self, results: Sequence[HasMask], truths: Sequence[HasMask]) -> dict[str, float]:
        """Of each class the mean over the cases that have it; {} for a model of one class."""
        if len(self.classes) == 1:
            return {}
        cases = [self._of_case(result, true) for result, true in zip(results, truths, strict=True)]
        of = {name: [one[n] for one in cases if n in one] for n, name in enumerate(self.classes, start=1)}
        return {name: float(np.mean(values)) for name, values in of.items() if values}

    def _mean_of_classes(self, result: HasMask, true: HasMask) -> float:
        values = list(self._of_case(result, true).values())
        return float(np.mean(values)) if values else 1.0

    def _of_case(self, result: HasMask, true: HasMask) -> dict[int, float]:
        return {number: self._measure(*counts) for number, counts in overlap(result, true).items()}


def logit(probability: float) -> float:
    """The logit of a probability, which is kept clear of 0 and 1."""
    p = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(p / (1 - p))


def measures(logits: FloatArray, cut: float) -> dict[str, float]:
    """Prediction statistics, all scale-free, from the network's own grid [N, h, w]; what is above `cut` is found."""
    probability = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
    found = logits > cut
    area = int(found.sum())
    p = np.clip(probability, 1e-6, 1 - 1e-6)
    entropy = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    edge, parts, spread = 0, [], []
    for one in found.astype(np.uint8):
        if not one.any():
            continue
        edge += int(one.sum() - cv2.erode(one, np.ones((3, 3), np.uint8), borderValue=0).sum())
        _, _, table, _ = cv2.connectedComponentsWithStats(one, connectivity=8)
        share = table[1:, cv2.CC_STAT_AREA] / one.sum()
        parts.append(1 / float((share**2).sum()))
        rows, columns = np.nonzero(one)
        spread.append(float(np.hypot(rows.std() / one.shape[0], columns.std() / one.shape[1])))
    return {
        "foreground_share": area / found.size,
        "confidence": float(probability[found].mean()) if area else 0.0,
        "entropy_bits": float(entropy.mean()),
        "uncertain_share": float(((p > 0.1) & (p < 0.9)).mean()),
        "edge_share": edge / area if area else 0.0,
        # Effective number of parts (inverse Simpson index): a stray pixel hardly counts.
        "parts": float(np.mean(parts)) if parts else 0.0,
        "spread": float(np.mean(spread)) if spread else 0.0,
    }


def outline(canvas: ByteArray, mask: ByteArray, colour: tuple[int, int, int], width: int = 1) -> None:
    """Draws the edges of a mask (uint8 [H, W], 0 and 1) into a picture, uint8 [H, W, 3] BGR."""
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, contours, -1, colour, width, cv2.LINE_AA)


def fill(canvas: ByteArray, mask: ByteArray, colour: tuple[int, int, int], width: int = 1) -> None:
    """Tints what a mask covers, and draws its edges. Arguments as of `outline`."""
    tinted = cv2.addWeighted(canvas, 1 - TINT, np.full_like(canvas, colour), TINT, 0)
    cv2.copyTo(tinted, mask, canvas)
    outline(canvas, mask, colour, width)
