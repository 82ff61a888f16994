"""What a training engine asks of a model's network. Every hook has its type here; the optional ones have a default.

| framework   | base class           | engine                                           |
|-------------|----------------------|--------------------------------------------------|
| torch       | `TorchHooks`         | `training.engines.engine_torch`                  |
| keras       | `KerasHooks`         | `training.engines.engine_keras`                  |
| ultralytics | `UltralyticsNetwork` | `training.engines.yolo` makes `TorchHooks` of it |
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from registry.core.media import Case, Parameters

if TYPE_CHECKING:
    from torch import Tensor, nn

Weights = Mapping[str, NDArray[Any]]
"""Arrays by name, as in a .safetensors file."""


class Examples(ABC):
    """Training examples: `self[n]` is (x, y) of one, as the engine's network takes it without the batch axis."""

    epoch = 0

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> tuple[Any, Any]: ...

    def set_epoch(self, epoch: int) -> None:
        """Tells which epoch begins, from 0."""
        self.epoch = epoch


class Augmented(Examples):
    """Examples that are augmented with `train`, by the seed, the index and the epoch: a run can be repeated and
    resumed."""

    def __init__(self, count: int, train: bool, seed: int) -> None:
        self._count, self._train, self._seed = count, train, seed

    def __len__(self) -> int:
        return self._count

    def rng(self, index: int) -> np.random.Generator | None:
        """For the augmentation of one; None where there is none."""
        return np.random.default_rng([self._seed, index, self.epoch]) if self._train else None


class NetworkPart(ABC):
    """What is known of a network without its framework."""

    OUTPUTS: tuple[str, ...]
    """Names of the outputs in their order, one of them `embedding`."""

    @abstractmethod
    def input_shape(self, params: Parameters) -> tuple[int, int, int]:
        """(C, H, W). `params` is the section `train` of params.yaml, with `classes`."""

    @abstractmethod
    def preprocessing(self, params: Parameters) -> dict[str, Any]:
        """Constants of the bundle for `InferencePart.preprocess`."""

    def thresholds(self, params: Parameters) -> dict[str, Any]:
        """Constants of the bundle for `InferencePart.postprocess`."""
        return {}


class UltralyticsNetwork(NetworkPart):
    """A detector of the package ultralytics."""

    ARCHITECTURE: str
    """A YAML of the package: `yolov8n.yaml`."""


class Hooks(NetworkPart):
    """What both engines ask."""

    FULL_PRECISION: tuple[str, ...] = ()
    """Patterns of ONNX node names that int8 leaves alone."""

    @abstractmethod
    def build(self, params: Parameters) -> Any:
        """The network with random weights."""

    @abstractmethod
    def examples(self, cases: Sequence[Case], params: Parameters, train: bool, seed: int) -> Examples:
        """The cases as the network learns them, augmented where `train` says so."""

    @abstractmethod
    def loss(self, outputs: Any, target: Any) -> Any:
        """A scalar tensor."""

    @abstractmethod
    def keep(self, model: Any) -> Sequence[Any]:
        """What pruning must not touch: layers that make the answer. Modules (torch) or names (Keras)."""

    def inherit(self, weights: Weights, classes: Sequence[str], params: Parameters) -> Weights | None:
        """A champion's weights for its `classes`, made to fit `params["classes"]`; None: what fits by name and shape is
        taken."""
        return None

    def rename(self, weights: Weights) -> Weights:
        """Other people's weights under our layers' names."""
        return weights

    def hub_weights(self) -> Weights | None:
        """Pretrained weights from the framework's own hub; None where it has none."""
        return None


class TorchHooks(Hooks):
    """Hooks of `engine_torch`. `build` gives an nn.Module: float32 [N, C, H, W] -> tuple in the order of `OUTPUTS`
    (eval), or whatever `loss` takes (training). `examples` gives x [C, H, W]."""

    def collate(self, items: list[Any]) -> Any:
        """A list of (x, y) -> (x [N, ...], y)."""
        from torch.utils.data import default_collate

        return default_collate(items)

    def raw(self, model: nn.Module, x: Tensor) -> Any:
        """What `loss` takes, of a model in eval mode."""
        return model(x)

    def before_epoch(self, model: nn.Module, epoch: int, params: Parameters, pretrained: bool) -> None:
        """Before epoch `epoch` (from 0): freezes or unfreezes layers. `pretrained`: training began from pretrained
        weights, not from random ones or from a champion."""

    def finish(self, model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], params: Parameters) -> None:
        """After training: sets buffers that follow from the features, e.g. a PCA. `batches` are (x, y) of the train
        split as it is, read when they are iterated."""


class KerasHooks(Hooks):
    """Hooks of `engine_keras`. `build` gives a functional Keras model of Keras' own layers, each with a name of its own
    (pruning and weights go by them): float32 [N, H, W, C] -> outputs in the order of `OUTPUTS`. `examples` gives
    x [H, W, C]; `loss` runs inside a tf.function."""
