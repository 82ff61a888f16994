"""What a detector found: boxes with classes and scores; which of them stay, how they overlap, how they are drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from registry.core.media import ByteArray, FloatArray
from registry.vision import drawing

FLOOR = 0.01  # least score that is kept at all: average precision needs the whole curve, people do not
COUNTED_CLASSES = 12  # with more than that, a count per class would be mostly zeros


@dataclass(frozen=True, eq=False)
class Detections:
    """What a detector found in one picture, best first.

    Boxes from `FLOOR` on are held, for the metric; those of at least `threshold` are what it says (`shown`).

    Attributes:
        boxes: float32 [N, 4], x1 y1 x2 y2 in pixels of the picture, inside it.
        scores: float32 [N] in [0, 1], falling.
        classes: int64 [N], index into `names`.
        names: class names in the order of the network's outputs.
        width, height: of the picture, pixels.
        threshold: least score that counts as found.
        notes: what had to be done to the picture, for the answer.
    """

    boxes: FloatArray
    scores: FloatArray
    classes: NDArray[np.int64]
    names: tuple[str, ...]
    width: int
    height: int
    threshold: float = 0.0
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        n = len(self.scores)
        if self.boxes.shape != (n, 4) or self.classes.shape != (n,):
            raise ValueError(f"boxes {self.boxes.shape} and classes {self.classes.shape} must be [{n}, 4] and [{n}]")

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def none(cls, names: Sequence[str], width: int, height: int, threshold: float = 0.0) -> Detections:
        """Nothing found."""
        zero = np.zeros(0, np.float32)
        return cls(zero.reshape(0, 4), zero, np.zeros(0, np.int64), tuple(names), width, height, threshold)

    @property
    def shown(self) -> Detections:
        """Those of at least `threshold`."""
        return self.take(self.scores >= self.threshold)

    def take(self, which: NDArray[Any]) -> Detections:
        """A subset, by mask or by index."""
        return replace(self, boxes=self.boxes[which], scores=self.scores[which], classes=self.classes[which])

    def to_json(self) -> dict[str, Any]:
        """What was found; boxes in pixels of the picture, x1 y1 x2 y2."""
        shown = self.shown
        found = [
            {
                "class": self.names[number],
                "class_id": int(number),
                "score": round(float(score), 4),
                "box": [round(float(edge), 1) for edge in box],
            }
            for box, score, number in zip(shown.boxes, shown.scores, shown.classes, strict=True)
        ]
        answer: dict[str, Any] = {
            "detections": found,
            "counts": dict(Counter(one["class"] for one in found)),
            "width": self.width,
            "height": self.height,
        }
        return answer | ({"notes": list(self.notes)} if self.notes else {})

    def statistics(self) -> dict[str, float]:
        """Finite numbers, in shares of the picture: how much, how sure, how big, where, of what kind.

        `expected_count` and `entropy_bits` weigh every held box by its score, so that they move before the count does.
        """
        shown, p = self.shown, self.scores.astype(np.float64)
        n, total = len(shown), float(p.sum())
        clear = np.clip(p, 1e-6, 1 - 1e-6)
        entropy = -(clear * np.log2(clear) + (1 - clear) * np.log2(1 - clear))
        wide, high = (shown.boxes[:, 2:] - shown.boxes[:, :2]).T.astype(np.float64)
        centre = (shown.boxes[:, :2] + shown.boxes[:, 2:]).astype(np.float64) / 2 / (self.width, self.height)
        numbers = {
            "count": float(n),
            "expected_count": float(np.clip((p - 0.1) / 0.9, 0, None).sum()),
            "max_score": float(p[0]) if len(p) else 0.0,
            "mean_score": float(shown.scores.mean()) if n else 0.0,
            "entropy_bits": float((p * entropy).sum() / total) if total else 0.0,
            # The side of a box of mean area, so that one number serves pictures of any size; 0 where there is none.
            "size": float(np.sqrt(wide * high / (self.width * self.height)).mean()) if n else 0.0,
            "log_aspect": float(np.log(np.maximum(wide, 1) / np.maximum(high, 1)).mean()) if n else 0.0,
            "centre_x": float(centre[:, 0].mean()) if n else 0.5,
            "centre_y": float(centre[:, 1].mean()) if n else 0.5,
            "spread": float(np.hypot(*centre.std(axis=0))) if n else 0.0,
        }
        counts = np.bincount(shown.classes, minlength=len(self.names)).astype(np.float64)
        if 1 < len(self.names) <= COUNTED_CLASSES:
            numbers |= {f"count_{name}": float(c) for name, c in zip(self.names, counts, strict=True)}
        elif len(self.names) > COUNTED_CLASSES:
            share = counts[counts > 0] / max(n, 1)
            numbers["classes"] = float(len(share))
            numbers["class_entropy_bits"] = float(-(share * np.log2(share)).sum())
        return numbers


def suppress(boxes: FloatArray, scores: FloatArray, classes: NDArray[np.int64], iou: float) -> NDArray[np.int64]:
    """Greedy non-maximum suppression within each class; indices of those that stay, best first."""
    if not len(boxes):
        return np.zeros(0, np.int64)
    sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    stay = cv2.dnn.NMSBoxesBatched(
        sides.astype(np.float64).tolist(), scores.tolist(), classes.astype(np.int32).tolist(), 0.0, iou
    )
    stay = np.asarray(stay, np.int64).reshape(-1)
    return stay[np.argsort(-scores[stay], kind="stable")]


def overlaps(a: FloatArray, b: FloatArray) -> FloatArray:
    """Intersection over union of boxes [..., N, 4] and [..., M, 4] (x1 y1 x2 y2) -> float32 [..., N, M]."""
    low = np.maximum(a[..., :, None, :2], b[..., None, :, :2])
    high = np.minimum(a[..., :, None, 2:], b[..., None, :, 2:])
    both = np.clip(high - low, 0, None).prod(axis=-1)
    area_a = (a[..., 2:] - a[..., :2]).prod(axis=-1)[..., :, None]
    area_b = (b[..., 2:] - b[..., :2]).prod(axis=-1)[..., None, :]
    return np.asarray(both / np.maximum(area_a + area_b - both, 1e-9), dtype=np.float32)


def drawn(pixels: ByteArray, result: Detections | None, true: FloatArray | None = None) -> ByteArray:
    """A picture with what is shown of `result`, uint8 BGR; small ones are scaled up. `true`: boxes float32 [T, 4] in
    its pixels, drawn dashed and green."""
    canvas, factor = drawing.enlarge(pixels)
    if true is not None:
        canvas = drawing.draw_truths(canvas, true * factor)
    if result is not None:
        shown = result.shown
        labels = [
            f"{result.names[number]} {100 * float(score):.0f} %"
            for number, score in zip(shown.classes, shown.scores, strict=True)
        ]
        canvas = drawing.draw_boxes(canvas, shown.boxes * factor, labels, shown.classes.tolist())
    if true is None:
        return canvas
    return drawing.add_legend(canvas, [("true box", drawing.TRUTH)])
