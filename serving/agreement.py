"""How far two versions' answers to the same input agree, by what the answers hold.

a class          1 where both name the same one, else 0
boxes            the F1 score of one version's boxes held against the other's: matched where the labels are the same
                 and the intersection over union is at least 0.5
a label file     the model's own metric of one answer with the other as its truth, e.g. Dice of two masks
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from registry.media import FloatArray
from registry.spec import ModelSpec
from registry.vision.detection import overlaps

JSON = "application/json"
IOU = 0.5
DIFFERS = {"classification": 1.0, "features": 1.0, "detection": 0.5, "segmentation": 0.8}
"""Below this agreement two answers count as different."""


@dataclass(frozen=True)
class Said:
    """One version's answer."""

    media: str
    body: bytes


def comparable(spec: ModelSpec) -> str:
    """The content type that answers are compared in: masks as the file they are, everything else as JSON."""
    if spec.task != "segmentation":
        return JSON
    return next((m for m in spec.media_out if m != JSON and not m.startswith(("image/", "video/"))), JSON)


def agreement(spec: ModelSpec, max_voxels: int, sample: bytes, one: Said, other: Said) -> float | None:
    """In [0, 1], 1 where they say the same; None where these answers cannot be compared.

    Args:
        sample: the input that both answered to, as it was uploaded.

    Raises:
        VisionloopError: an answer is not what its content type says.
    """
    kind = comparable(spec)
    if not (one.media.startswith(kind) and other.media.startswith(kind)):
        return None
    if kind != JSON:
        truth, score = spec.score.truth, spec.score.score
        decoded = spec.inference.decode(sample, max_voxels)
        return float(score([spec.score.result_of(truth(other.body), decoded)], [truth(one.body)]))
    left, right = (json.loads(said.body) for said in (one, other))
    if "class" in left and "class" in right:
        return float(left["class"] == right["class"])
    boxes = [_boxes(answer) for answer in (left, right)]
    return None if boxes[0] is None or boxes[1] is None else matched(*boxes[0], *boxes[1])


def matched(left: FloatArray, left_labels: Sequence[str], right: FloatArray, right_labels: Sequence[str]) -> float:
    """F1 of boxes float32 [L, 4] against [R, 4], x1 y1 x2 y2; each is matched once, the best pairs first."""
    if not len(left) or not len(right):
        return float(len(left) == len(right))
    iou = overlaps(left, right)
    iou[np.array(left_labels)[:, None] != np.array(right_labels)[None]] = 0.0
    found = 0
    while iou.size and iou.max() >= IOU:
        row, column = np.unravel_index(int(iou.argmax()), iou.shape)
        iou[row, :] = iou[:, column] = 0.0
        found += 1
    return 2 * found / (len(left) + len(right))


def _boxes(answer: Mapping[str, Any]) -> tuple[FloatArray, list[str]] | None:
    """The boxes of an answer and the word that each comes with, wherever it lists them."""
    for value in answer.values():
        if isinstance(value, list) and all(isinstance(one, dict) and "box" in one for one in value):
            labels = [next((word for word in one.values() if isinstance(word, str)), "") for one in value]
            return np.array([one["box"] for one in value], np.float32).reshape(-1, 4), labels
    return None
