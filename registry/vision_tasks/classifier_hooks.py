"""What training asks of a classifier's network in any framework: its classes, its examples, a head that can change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from registry.contract.hooks import Augmented, Examples, Hooks, Weights
from registry.core.media import MAX_CASE_PIXELS, ByteArray, Case, FloatArray, Parameters
from registry.vision.picture import Letterbox, decode, to_input
from registry.vision_tasks.classification import LOGITS

if TYPE_CHECKING:
    from registry.contract.spec import ModelSpec

CACHE_BYTES = 2_000_000_000  # of decoded training pictures that are kept
SMOOTHING = 0.05  # of labels (Szegedy 2016): probabilities stay honest on a small data set


class ClassifierHooks(Hooks):
    """Hooks of a network whose first output is the logits, float32 [N, C]."""

    OUTPUTS: tuple[str, ...] = (LOGITS, "embedding")
    CHANNELS_LAST = False
    """Whether the framework's pictures, and its head's weights, have their channels and classes in the last axis."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    def head(self) -> tuple[str, ...]:
        """Names of the weights of the linear layer that gives the logits."""
        raise NotImplementedError

    def classes(self, params: Parameters) -> list[str]:
        """Those of the data set, where it brings some; else the spec's."""
        return list(params.get("classes") or self.spec.classes)

    def input_shape(self, params: Parameters) -> tuple[int, int, int]:
        size = int(params["image_size"])
        return 3, size, size

    def preprocessing(self, params: Parameters) -> dict[str, Any]:
        return {"image_size": int(params["image_size"])}

    def thresholds(self, params: Parameters) -> dict[str, Any]:
        return {"classes": self.classes(params)}

    def examples(self, cases: Sequence[Case], params: Parameters, train: bool, seed: int) -> Examples:
        return Pictures(cases, self.classes(params), int(params["image_size"]), train, seed, self.CHANNELS_LAST)

    def inherit(self, weights: Weights, classes: Sequence[str], params: Parameters) -> Weights:
        """A champion's weights for other classes: those of a class that it knew are kept, others are drawn."""
        known, rng = {name: n for n, name in enumerate(classes)}, np.random.default_rng(int(params.get("seed", 0)))
        axis = -1 if self.CHANNELS_LAST else 0
        found = dict(weights)
        for name in self.head():
            old = np.moveaxis(np.asarray(weights[name]), axis, 0)
            width = old[0].size ** -0.5 if old.ndim > 1 else 0.0  # a bias begins at 0
            rows = [
                old[known[one]] if one in known else rng.uniform(-width, width, old.shape[1:])
                for one in self.classes(params)
            ]
            found[name] = np.ascontiguousarray(np.moveaxis(np.array(rows, old.dtype), 0, axis))
        return found


class Pictures(Augmented):
    """Pictures as the network sees them, augmented with `train`: x float32 [3, S, S], or [S, S, 3] with
    `channels_last`, RGB in [0, 1]; y int64, the number of the class."""

    def __init__(
        self, cases: Sequence[Case], classes: Sequence[str], size: int, train: bool, seed: int, channels_last: bool
    ) -> None:
        super().__init__(len(cases), train, seed)
        numbers = {name: n for n, name in enumerate(classes)}
        self._files = [case.input for case in cases]
        self._labels = np.array([numbers[str(case.truth)] for case in cases], np.int64)
        self._size, self._channels_last = size, channels_last
        self._kept: dict[int, ByteArray] = {}

    def __getitem__(self, index: int) -> tuple[FloatArray, np.int64]:
        pixels = self._pixels(index)
        if (rng := self.rng(index)) is not None:
            pixels = augment(pixels, rng)
        x = to_input(pixels)
        return np.ascontiguousarray(x.transpose(1, 2, 0)) if self._channels_last else x, self._labels[index]

    def _pixels(self, index: int) -> ByteArray:
        """uint8 [S, S, 3] BGR, letterboxed just as `WholePictureInference` does it."""
        found = self._kept.get(index)
        if found is None:
            sample = decode(self._files[index].read_bytes(), MAX_CASE_PIXELS)
            found = Letterbox.of(sample.width, sample.height, self._size).fit(sample.pixels)
            if (len(self._kept) + 1) * found.nbytes <= CACHE_BYTES:
                self._kept[index] = found
        return found


def augment(pixels: ByteArray, rng: np.random.Generator) -> ByteArray:
    """Slightly other poses and crops, mirrored or not, a little more or less light. Mild on purpose: stronger ones cost
    a short training more than they give it, and what no camera here has done is for the drift monitor to notice."""
    return relit(posed(pixels, pose(pixels.shape[0], rng)), rng)


def pose(size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A turn, a scale, a shift and perhaps a mirror: an affine matrix [2, 3] for `posed`."""
    turn, scale = rng.uniform(-10, 10), rng.uniform(0.95, 1.15)
    matrix = np.asarray(cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), turn, scale), dtype=np.float64)
    matrix[:, 2] += rng.uniform(-0.05, 0.05, 2) * size
    if rng.random() < 0.5:
        matrix[0] = -matrix[0]
        matrix[0, 2] += size - 1
    return matrix


def posed(pixels: ByteArray, matrix: NDArray[np.float64], way: int = cv2.INTER_LINEAR) -> ByteArray:
    """uint8 [S, S] or [S, S, C] in another pose."""
    size = pixels.shape[:2]
    return cv2.warpAffine(pixels, matrix, size, flags=way, borderMode=cv2.BORDER_REFLECT_101).astype(
        np.uint8, copy=False
    )


def relit(pixels: ByteArray, rng: np.random.Generator) -> ByteArray:
    """In a little more or less light."""
    curve = np.clip(np.arange(256) * rng.uniform(0.9, 1.1), 0, 255).astype(np.uint8)
    return cv2.LUT(pixels, curve).astype(np.uint8, copy=False)
