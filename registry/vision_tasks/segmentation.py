"""Pictures into masks: the steps and the result of every segmentation of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from registry.core.errors import BadInput
from registry.core.media import ByteArray, FloatArray, Parameters, Picture, Prepared
from registry.vision.picture import Letterbox
from registry.vision_tasks import masks
from registry.vision_tasks.classification import SAID_APART
from registry.vision_tasks.picture_parts import Fitted

OUTPUTS = ("mask", "embedding")
"""`mask`: logits float32 [N, C, S, S], one for each class; a pixel is of the class with the highest one, where that is
above the threshold."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Segments:
    """Which pixels are of which class.

    Attributes:
        mask: uint8 [H, W], in pixels of the picture; 0: none of the classes, n: the n-th.
        classes: C names.
        measures: what `statistics` returns.
        extras: what else the answer's JSON says, e.g. {"model_size_mb": 1.9}.
    """

    mask: ByteArray
    classes: tuple[str, ...]
    measures: Mapping[str, float] = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict)

    def areas(self) -> dict[str, int]:
        """Pixels of each class."""
        return {name: int(np.count_nonzero(self.mask == n)) for n, name in enumerate(self.classes, start=1)}

    def to_json(self) -> dict[str, Any]:
        """Every class with the `value` that it has in the mask."""
        areas = self.areas()
        return {
            "classes": [
                {"name": name, "value": value, "pixels": area, "share": area / self.mask.size}
                for value, (name, area) in enumerate(areas.items(), start=1)
            ],
            "foreground_share": sum(areas.values()) / self.mask.size,
            "width": self.mask.shape[1],
            "height": self.mask.shape[0],
            "mean_confidence": self.measures.get("confidence", 0.0),
            **self.extras,
        }

    def statistics(self) -> dict[str, float]:
        """Those of `masks.measures`, over all classes together, and of several classes the share of each."""
        return dict(self.measures)


def postprocess(
    outputs: Mapping[str, np.ndarray], prepared: Prepared, thresholds: Parameters, classes: Sequence[str]
) -> Segments:
    """Output `mask` float32 [1, C, S, S] -> a mask in the picture's own pixels."""
    context: Fitted = prepared.context
    x1, y1, x2, y2 = context.letterbox.inner
    logits = np.asarray(outputs["mask"][0], dtype=np.float32)[:, y1:y2, x1:x2]
    cut = masks.logit(float(thresholds["probability"]))
    size = context.letterbox.width, context.letterbox.height
    mask = np.zeros(size[::-1], dtype=np.uint8)
    best = np.full(size[::-1], cut, dtype=np.float32)
    for number, one in enumerate(logits, start=1):  # one after the other: a photograph of many classes is large
        large = cv2.resize(np.ascontiguousarray(one), size, interpolation=cv2.INTER_LINEAR)
        mask[large > best] = number
        np.maximum(best, large, out=best)
    strongest = logits.max(axis=0)
    measures = masks.measures(strongest[None], cut)
    if 1 < len(classes) <= SAID_APART:
        named = np.where(strongest > cut, logits.argmax(axis=0), -1)
        measures |= {f"share_{name}": float((named == n).mean()) for n, name in enumerate(classes)}
    return Segments(mask, tuple(classes), measures, context.extras)


def fit(mask: ByteArray, letterbox: Letterbox, classes: int) -> ByteArray:
    """A mask of the picture -> uint8 [S, S] of the network's square: the class that covers half of a pixel or more."""
    x1, y1, x2, y2 = letterbox.inner
    square = np.zeros((letterbox.size, letterbox.size), dtype=np.uint8)
    for number in range(1, classes + 1):
        alone = (mask == number).astype(np.float32)
        if alone.any():
            cover = cv2.resize(alone, (x2 - x1, y2 - y1), interpolation=cv2.INTER_AREA)
            square[y1:y2, x1:x2][cover >= 0.5] = number
    return square


def one_hot(mask: ByteArray, classes: int) -> FloatArray:
    """uint8 [S, S] -> float32 [C, S, S] of 0 and 1."""
    return (mask == np.arange(1, classes + 1, dtype=np.uint8)[:, None, None]).astype(np.float32)


def focus(sample: Picture, prepared: Prepared, result: Segments) -> tuple[int, ByteArray, Box]:
    """As of a classification. Raises BadInput: nothing was found anywhere."""
    if not result.mask.any():
        raise BadInput(
            "nothing was found",
            expected=f"a picture with {' or '.join(result.classes[:12])} in it",
            fix="an answer of nothing has no explanation",
        )
    context: Fitted = prepared.context
    return 0, sample.pixels, context.letterbox.inner


def evidence(outputs: Mapping[str, np.ndarray], prepared: Prepared, result: Segments) -> FloatArray:
    """float32 [M]: the mean over the mask of the logit of the class that `result` has there."""
    context: Fitted = prepared.context
    weights = one_hot(fit(result.mask, context.letterbox, len(result.classes)), len(result.classes))
    logits = np.asarray(outputs["mask"], dtype=np.float32)
    return np.asarray((logits * weights).sum(axis=(1, 2, 3)) / max(weights.sum(), 1.0), dtype=np.float32)
