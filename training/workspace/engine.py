"""Which engine trains a model. An engine is a module with the functions of `Engine`; what is particular to a model
comes to it as hooks (`registry.contract.hooks`).

| framework   | engine         | hooks                                                              |
|-------------|----------------|--------------------------------------------------------------------|
| torch       | `engine_torch` | `spec.network`                                                     |
| ultralytics | `engine_torch` | `training.engines.yolo.hooks(spec)`: network, loss, augmentation of ultralytics |
| keras       | `engine_keras` | `spec.network`                                                     |
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from registry.contract.hooks import Hooks
from registry.contract.spec import ModelSpec
from registry.core.media import Case, FloatArray
from training.workspace.checkpoint import Checkpoints
from training.workspace.course import FitResult, TrainingListener
from training.workspace.workspace import Compression, Recipe

Arrays = Mapping[str, NDArray[Any]]
"""Weights by name, as they stand in a .safetensors file."""

Network = Any
"""A network of the engine's framework."""


@dataclass(frozen=True)
class Cost:
    """Multiply-accumulates of one input, and trainable numbers."""

    macs: int
    parameters: int


@dataclass(frozen=True)
class Pruned:
    """A smaller network, not fine-tuned yet, and in words how it came about."""

    network: Network
    method: str


class Engine(Protocol):
    """What every engine module offers. Networks take and give NCHW float32 through `session` and `to_onnx`,
    whatever the framework's own order is."""

    NAME: str
    """Of the framework that runs the network before it is exported: `torch` or `keras`."""

    def use_threads(self, threads: int) -> None:
        """Fixes the thread count of this process (0: all cores)."""

    def build(self, hooks: Any, params: Mapping[str, Any], seed: int) -> Network:
        """The network with random weights that depend on the seed only."""

    def restore(self, hooks: Any, params: Mapping[str, Any], weights: Arrays) -> Network:
        """The network with the channel counts and the values of `weights`. Raises BundleError: another architecture."""

    def take_over(self, network: Network, weights: Arrays) -> tuple[Network, int]:
        """Puts in those of `weights` that fit by name and shape; the network, and how many tensors it took."""

    def weights(self, network: Network) -> dict[str, NDArray[Any]]:
        """All of its weights by name, in plain memory order."""

    def fit(
        self,
        spec: ModelSpec,
        hooks: Any,
        network: Network,
        cases: Sequence[Case],
        params: dict[str, Any],
        recipe: Recipe,
        checkpoints: Checkpoints | None = None,
        watcher: TrainingListener | None = None,
    ) -> FitResult:
        """Trains on the `train` cases and keeps the epoch that is best on the `val` cases (see `Course`)."""

    def readable(self, state: bytes) -> bool:
        """Whether the bytes of a checkpoint are whole."""

    def session(self, hooks: Any, network: Network) -> Callable[[FloatArray], dict[str, FloatArray]]:
        """The network called like a `registry.core.runtime.Session`."""

    def cost(self, network: Network, shape: tuple[int, ...]) -> Cost:
        """Of one input of `shape` [C, H, W]."""

    def prune(
        self, hooks: Any, network: Network, cases: Sequence[Case], params: dict[str, Any], options: Compression
    ) -> Pruned:
        """A copy with about `options.sparsity` of the channels of each layer removed; counts are multiples of 8."""

    def to_onnx(self, hooks: Any, network: Network, shape: tuple[int, ...], path: Path) -> Path:
        """Writes `path`: input `image` float32 [N, C, H, W], outputs named as in `hooks.OUTPUTS`, N free."""


def engine_of(spec: ModelSpec) -> Engine:
    """The engine that trains `spec`; its framework is imported now."""
    name = "engine_keras" if spec.framework == "keras" else "engine_torch"
    return cast(Engine, importlib.import_module(f"training.engines.{name}"))


def hooks_of(spec: ModelSpec) -> Hooks:
    """What the engine asks about this model."""
    if spec.framework == "ultralytics":
        return cast(Hooks, importlib.import_module("training.engines.yolo").hooks(spec))
    assert isinstance(spec.network, Hooks), (
        f"{spec.name}: a {spec.framework} network must be registry.contract.hooks.Hooks"
    )
    return spec.network


def validator(
    spec: ModelSpec, hooks: Any, cases: Sequence[Case], params: Mapping[str, Any]
) -> Callable[[Callable[[FloatArray], Mapping[str, FloatArray]]], float]:
    """Scores a session on the `val` cases through the model's own postprocessing: the metric as it will be served.

    The cases are decoded and preprocessed once, now.
    """
    from training.workspace import scoring

    held = scoring.hold(spec, [case for case in cases if case.split == "val"], hooks.preprocessing(params))
    truths, thresholds = held.truths, hooks.thresholds(params)

    def score(session: Callable[[FloatArray], Mapping[str, FloatArray]]) -> float:
        return spec.score.score(scoring.run(spec, session, held, thresholds), truths)

    return score


def batches(examples: Any, size: int) -> Iterator[tuple[np.ndarray, Any]]:
    """Consecutive (x, y) of a torch dataset, `size` at a time, in order."""
    from torch.utils.data import DataLoader

    yield from DataLoader(examples, size)
