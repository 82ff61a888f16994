"""The contract between stages, the training loop and a framework: `Engine` and `Trainer`.

`training.engines.select` says which engine trains a model, and `registry.contract.hooks` what an engine asks of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from registry.contract.hooks import Hooks, Weights
from registry.core.errors import BundleError
from registry.core.media import Case, FloatArray
from training.workspace.checkpoint import Arrays
from training.workspace.parameters import Compression, Recipe

CHANNEL_MULTIPLE = 8
"""Pruning leaves multiples of this many channels: ONNX Runtime runs odd counts slower than unpruned ones."""

HooksT = TypeVar("HooksT", bound=Hooks)

Network = Any
"""A network of the engine's framework."""

Session = Callable[[FloatArray], Mapping[str, FloatArray]]
"""A network called like a `registry.core.runtime.Session`: float32 [N, C, H, W] -> outputs by name."""


@dataclass(frozen=True)
class Cost:
    """Multiply-accumulates of one input, and trainable numbers."""

    macs: int
    parameters: int


def misfit(why: str) -> BundleError:
    """The error for weights of another architecture."""
    return BundleError(
        f"the weights do not fit the network: {why}",
        expected="weights of this model's network, whole or pruned",
        fix="train from scratch: empty build/<model>/start",
    )


@dataclass(frozen=True)
class Pruned:
    """A smaller network, not fine-tuned yet; `method` says in words how it was made."""

    network: Network
    method: str


class Trainer(ABC):
    """One network in training. The loop (`training.engines.loop`) decides when each method is called."""

    examples: int
    """Of the train split."""
    device: str
    """`cpu` or `cuda`."""

    @abstractmethod
    def batches(self, epoch: int) -> Iterator[Any]:
        """Readies the network for training and gives the batches of this epoch, from 0. Their order depends on the
        seed and the epoch only, so that a resumed training sees the same."""

    @abstractmethod
    def step(self, batch: Any, rate: float) -> float:
        """Learns from a batch with this learning rate. Returns its loss."""

    @abstractmethod
    def predict(self, batch: FloatArray) -> Mapping[str, FloatArray]:
        """The network in eval mode, as a `Session`."""

    @abstractmethod
    def state(self) -> Arrays:
        """All that a step changes: weights, the optimizer's moments, random state."""

    @abstractmethod
    def load(self, state: Arrays) -> None:
        """Goes on from what `state` returned."""

    @abstractmethod
    def finish(self, weights: Weights) -> Network:
        """The network with these weights, on the CPU, ready for inference."""


class Engine(ABC, Generic[HooksT]):
    """A framework that trains networks. Networks take and give NCHW float32 through `session` and `to_onnx`, whatever
    the framework's own order is."""

    name: str
    """Of the framework that runs the network before it is exported: `torch` or `keras`."""

    @abstractmethod
    def use_threads(self, threads: int) -> None:
        """Fixes the thread count of this process (0: all cores): measured times and results depend on it."""

    @abstractmethod
    def build(self, hooks: HooksT, params: Mapping[str, Any], seed: int) -> Network:
        """The network with random weights that depend on the seed only."""

    @abstractmethod
    def restore(self, hooks: HooksT, params: Mapping[str, Any], weights: Weights) -> Network:
        """The network with the channel counts and the values of `weights`. Raises BundleError: another architecture."""

    @abstractmethod
    def take_over(self, network: Network, weights: Weights) -> tuple[Network, int]:
        """Puts in those of `weights` that fit by name and shape; the network, and how many tensors it took."""

    @abstractmethod
    def weights(self, network: Network) -> Arrays:
        """All of its weights by name, in plain memory order. They may share memory with the network."""

    @abstractmethod
    def trainer(
        self,
        hooks: HooksT,
        network: Network,
        cases: Sequence[Case],
        params: Mapping[str, Any],
        recipe: Recipe,
    ) -> Trainer:
        """Readies `network` for training on `cases`, all of the train split."""

    @abstractmethod
    def session(self, hooks: HooksT, network: Network) -> Session:
        """The network as a session."""

    @abstractmethod
    def cost(self, network: Network, shape: tuple[int, ...]) -> Cost:
        """Of one input of `shape` [C, H, W]."""

    @abstractmethod
    def prune(
        self,
        hooks: HooksT,
        network: Network,
        cases: Sequence[Case],
        params: Mapping[str, Any],
        options: Compression,
    ) -> Pruned:
        """A copy with about `options.sparsity` of the channels of each layer removed; see `CHANNEL_MULTIPLE`."""

    @abstractmethod
    def to_onnx(self, hooks: HooksT, network: Network, shape: tuple[int, ...], path: Path) -> Path:
        """Writes `path`: input `image` float32 [N, C, H, W], outputs named as in `hooks.OUTPUTS`, N free."""
