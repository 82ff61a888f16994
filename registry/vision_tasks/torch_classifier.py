"""What classifiers in PyTorch share: their examples, their loss, and a head that can change its classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from registry.contract.hooks import Examples, TorchHooks
from registry.core.media import MAX_CASE_PIXELS, ByteArray, Case, Parameters
from registry.vision.picture import Letterbox, decode, to_input

if TYPE_CHECKING:
    from registry.contract.spec import ModelSpec

Weights = Mapping[str, NDArray[Any]]
CACHE_BYTES = 2_000_000_000  # of decoded training pictures that are kept
SMOOTHING = 0.05  # of labels (Szegedy 2016): probabilities stay honest on a small data set


class TorchClassifier(TorchHooks):
    """Hooks of a network whose first output is the logits, float32 [N, C]. `build` is left to the network."""

    OUTPUTS: tuple[str, ...] = ("logits", "embedding")
    HEAD = "head"
    """Name of the linear layer that gives the logits."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

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
        return Pictures(cases, self.classes(params), int(params["image_size"]), train, seed)

    def loss(self, outputs: tuple[Tensor, ...], target: Tensor) -> Tensor:
        return functional.cross_entropy(outputs[0].float(), target, label_smoothing=SMOOTHING)

    def keep(self, model: nn.Module) -> list[nn.Module]:
        """The head: its units are the classes."""
        return [model.get_submodule(self.HEAD)]

    def inherit(self, weights: Weights, thresholds: Parameters, params: Parameters) -> dict[str, NDArray[Any]]:
        """A champion's weights for other classes: rows of the head whose class it knew are kept, new ones are drawn."""
        known = {name: n for n, name in enumerate(thresholds["classes"])}
        fresh = self.build(params).state_dict()
        found = {name: np.asarray(value) for name, value in weights.items()}
        for name in (f"{self.HEAD}.weight", f"{self.HEAD}.bias"):
            rows = np.resize(np.asarray(fresh[name]), (len(fresh[name]), *found[name].shape[1:])).copy()
            for n, one in enumerate(self.classes(params)):
                if one in known:
                    rows[n] = found[name][known[one]]
            found[name] = rows
        return found


class Drawn(Examples):
    """Examples of which, with `train`, each access draws a new augmentation from (seed, index, how often it was drawn),
    so that a run can be repeated; `set_epoch` puts the count where an interrupted run left it."""

    def __init__(self, count: int, train: bool, seed: int) -> None:
        self._train, self._seed = train, seed
        self._drawn = np.zeros(count, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._drawn)

    def set_epoch(self, epoch: int) -> None:
        self._drawn[:] = epoch

    def rng(self, index: int) -> np.random.Generator | None:
        """For the augmentation of this access; None where there is none."""
        if not self._train:
            return None
        self._drawn[index] += 1
        return np.random.default_rng([self._seed, index, int(self._drawn[index]) - 1])


class Pictures(Drawn):
    """Pictures as the network sees them: x float32 [3, S, S], y int64, the number of the class."""

    def __init__(self, cases: Sequence[Case], classes: Sequence[str], size: int, train: bool, seed: int) -> None:
        super().__init__(len(cases), train, seed)
        self._size = size
        numbers = {name: n for n, name in enumerate(classes)}
        self._files = [case.input for case in cases]
        self._labels = [numbers[str(case.truth)] for case in cases]
        self._kept: dict[int, ByteArray] = {}

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        pixels = self._pixels(index)
        if (rng := self.rng(index)) is not None:
            pixels = augment(pixels, rng)
        return torch.from_numpy(to_input(pixels)), torch.tensor(self._labels[index])

    def _pixels(self, index: int) -> ByteArray:
        """uint8 [S, S, 3] BGR, letterboxed just as `classification.preprocess` does it."""
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
