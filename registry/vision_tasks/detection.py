"""Object detection with a single-stage network: picture -> square -> boxes with classes and scores.

Exported detectors take `image`, float32 [N, 3, S, S] RGB in [0, 1], and give `predictions`, float32 [N, 4 + C, A]:
for each of A anchors a box x1, y1, x2, y2 in pixels of the square, and C class probabilities.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from registry.core.errors import SettingsError
from registry.core.media import ByteArray, FloatArray, Parameters, Picture, Prepared
from registry.vision import drawing
from registry.vision.picture import Letterbox, to_input

PREDICTIONS = "predictions"
OUTPUTS = (PREDICTIONS, "embedding")
STRIDE = 32  # of the coarsest grid; the square's edge is a multiple of it
MAX_DETECTIONS = 300
MAX_CANDIDATES = 3000  # boxes that enter the suppression; an untrained network says "maybe" everywhere
FLOOR = 0.01  # least score that is kept at all: average precision needs the whole curve, people do not
COUNTED_CLASSES = 12  # with more than that, a count per class would be mostly zeros
MATCH_IOU = 0.5  # of a box that still says the same, see `evidence`


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


def input_shape(params: Parameters) -> tuple[int, int, int]:
    """(3, S, S). Raises SettingsError for a size that the network's grids do not divide."""
    size = int(params["image_size"])
    if size < STRIDE or size % STRIDE:
        raise SettingsError(
            f"image_size is {size}", expected=f"a multiple of {STRIDE}", fix=f"use {max(1, size // STRIDE) * STRIDE}"
        )
    return 3, size, size


def preprocessing(params: Parameters) -> dict[str, Any]:
    """Constants of the bundle for `preprocess`."""
    return {"image_size": input_shape(params)[1]}


def thresholds(params: Parameters) -> dict[str, Any]:
    """Constants of the bundle for `postprocess`: least score that is shown, and overlap from which one box stays."""
    return {"score": float(params.get("score", 0.25)), "iou": float(params.get("iou", 0.6))}


def fit(pixels: ByteArray, size: int) -> tuple[FloatArray, Letterbox]:
    """uint8 [H, W, 3] BGR -> float32 [3, size, size] RGB in [0, 1], and the way back."""
    letterbox = Letterbox.of(pixels.shape[1], pixels.shape[0], size)
    return to_input(letterbox.fit(pixels)), letterbox


def preprocess(sample: Picture, constants: Parameters) -> Prepared:
    """A picture as the network wants it: batch [1, 3, S, S] with S = `image_size`; context: (picture, letterbox)."""
    image, letterbox = fit(sample.pixels, int(constants["image_size"]))
    return Prepared(image[None], (sample, letterbox))


def postprocess(
    outputs: Mapping[str, np.ndarray], prepared: Prepared, thresholds: Parameters, names: Sequence[str]
) -> Detections:
    """Output `predictions` of one picture -> boxes in its own pixels. `thresholds`: as in `decode`."""
    picture, letterbox = prepared.context
    found = decode(outputs[PREDICTIONS][0], letterbox, (picture.width, picture.height), thresholds, names)
    return replace(found, notes=picture.notes) if picture.notes else found


def decode(
    predictions: FloatArray, letterbox: Letterbox, size: tuple[int, int], thresholds: Parameters, names: Sequence[str]
) -> Detections:
    """One picture's or frame's predictions, float32 [4 + C, A] -> what it shows; `size` is its width and height.

    An anchor speaks for its best class only. Of boxes of one class that overlap by more than `thresholds["iou"]` the
    best one stays (greedy non-maximum suppression); `thresholds["score"]` becomes the result's threshold.
    """
    width, height = size
    # Contiguous rows: the maximum over C strided rows is an order slower.
    best = np.ascontiguousarray(predictions[4:]).argmax(axis=0) if len(predictions) > 5 else None
    scores = predictions[4] if best is None else np.take_along_axis(predictions[4:], best[None], axis=0)[0]
    floor = min(FLOOR, float(thresholds["score"]))
    kept = np.flatnonzero(scores >= floor)  # a NaN is not
    if len(kept) > MAX_CANDIDATES:
        kept = kept[np.argpartition(-scores[kept], MAX_CANDIDATES)[:MAX_CANDIDATES]]
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    classes = np.zeros(len(kept), np.int64) if best is None else best[kept].astype(np.int64)
    # Also cuts them off at the picture's edges.
    boxes = letterbox.to_picture(np.ascontiguousarray(predictions[:4, kept].T, dtype=np.float32))
    inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    boxes, found, classes = boxes[inside], scores[kept][inside].astype(np.float32), classes[inside]
    stay = suppress(boxes, found, classes, float(thresholds["iou"]))[:MAX_DETECTIONS]
    return Detections(
        boxes[stay], found[stay], classes[stay], tuple(names), width, height, threshold=float(thresholds["score"])
    )


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


def focus(sample: Picture, prepared: Prepared, result: Detections) -> tuple[int, ByteArray, tuple[int, int, int, int]]:
    """For the heat map: element of the batch, picture, and where that lies in the network's square."""
    return 0, sample.pixels, prepared.context[1].inner


def evidence(outputs: Mapping[str, np.ndarray], prepared: Prepared, result: Detections) -> FloatArray:
    """How strongly each of M occluded copies still says what `result` says: float32 [M].

    Of each box that is shown (ten at most), the best score that its class still has at a box that overlaps it by
    half; summed. Where nothing was found, the highest score of anything.
    """
    predictions = np.asarray(outputs[PREDICTIONS], dtype=np.float32)
    shown = result.shown.take(np.arange(min(10, len(result.shown))))
    if not len(shown):
        return np.asarray(predictions[:, 4:].max(axis=(1, 2)), dtype=np.float32)
    wanted = prepared.context[1].to_network(shown.boxes).astype(np.float32)
    at = np.swapaxes(predictions[:, :4], 1, 2)  # [M, A, 4]
    total = np.zeros(len(predictions), np.float32)
    for box, number in zip(wanted, shown.classes, strict=True):
        near = overlaps(at, box[None])[..., 0] >= MATCH_IOU
        total += np.where(near, predictions[:, 4 + int(number)], 0).max(axis=1)
    return total


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
