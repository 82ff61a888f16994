"""Which channels of a functional Keras graph depend on each other.

Every channel of every tensor has a number. Layers that make channels (Conv2D, Dense) give new numbers, layers that let
them through (normalisation, activation, depthwise convolution, pooling, ...) pass them on, layers that join tensors
make numbers equal (Add) or put them side by side (Concatenate). Channels of equal number can only be removed together,
as in DepGraph (Fang 2023, arXiv:2301.12900).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.core.errors import VisionloopError

Numbers = NDArray[np.int64]

_PASSES = frozenset(
    [
        "ReLU",
        "LeakyReLU",
        "Activation",
        "Softmax",
        "Dropout",
        "SpatialDropout2D",
        "GaussianNoise",
        "ZeroPadding2D",
        "Cropping2D",
        "UpSampling2D",
        "MaxPooling2D",
        "AveragePooling2D",
        "GlobalAveragePooling2D",
        "GlobalMaxPooling2D",
        "Rescaling",
    ]
)
_EQUAL = frozenset(["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"])
_NORMALISED = ("gamma", "beta", "moving_mean", "moving_variance")


@dataclass(frozen=True)
class Cut:
    """One axis of one variable and the channel numbers along it. `makes`: the axis of the layer's own channels."""

    layer: str
    variable: str
    axis: int
    numbers: Numbers
    makes: bool

    @property
    def name(self) -> str:
        return f"{self.layer}/{self.variable}"


@dataclass
class Channels:
    """The numbered channels of a graph.

    Attributes:
        cuts: every axis of every variable that has channels along it.
        makers: layer -> the numbers of the channels that it makes.
        fixed: numbers that must stay.
    """

    cuts: list[Cut] = field(default_factory=list)
    makers: dict[str, Numbers] = field(default_factory=dict)
    fixed: set[int] = field(default_factory=set)
    _parent: list[int] = field(default_factory=list)

    def new(self, count: int) -> Numbers:
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        return np.arange(first, first + count)

    def root(self, number: int) -> int:
        """The number that stands for all that are equal to this one."""
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number

    def equal(self, a: Numbers, b: Numbers) -> None:
        for x, y in zip(a, b, strict=True):
            self._parent[self.root(int(y))] = self.root(int(x))

    def roots(self, numbers: Numbers) -> Numbers:
        return np.array([self.root(int(n)) for n in numbers], dtype=np.int64)

    def spaces(self) -> Iterator[tuple[tuple[str, ...], Numbers]]:
        """Channels among which some may go: the layers that make them (a residual stream has several), their roots."""
        made: dict[int, list[str]] = {}
        for layer, numbers in self.makers.items():
            for root in self.roots(numbers):
                made.setdefault(int(root), []).append(layer)
        fixed = {self.root(n) for n in self.fixed}
        spaces: dict[tuple[str, ...], list[int]] = {}
        for root, layers in made.items():
            spaces.setdefault(tuple(dict.fromkeys(layers)), []).append(root)
        for makers, roots in spaces.items():
            if not fixed.intersection(roots):
                yield makers, np.array(roots, dtype=np.int64)


def number_channels(model: Any, keep: Iterable[str]) -> Channels:
    """Numbers the channels of a functional model; those that the layers `keep` make, and the input's, are fixed.

    Raises:
        VisionloopError: a layer of a kind whose channels cannot be followed.
    """
    config, tracer = model.get_config(), _Tracer(model)
    for layer in config["layers"]:
        tracer.follow(layer)
    for name in keep:
        tracer.channels.fixed.update(int(n) for n in tracer.outputs[name])
    return tracer.channels


class _Tracer:
    def __init__(self, model: Any) -> None:
        self.model = model
        self.channels = Channels()
        self.outputs: dict[str, Numbers] = {}  # of each layer's (only) output, along its last axis

    def follow(self, layer: Mapping[str, Any]) -> None:
        name, kind, config = layer["config"]["name"], layer["class_name"], layer["config"]
        if len(layer["inbound_nodes"]) > 1:
            raise _cannot(name, kind, "it is used more than once")
        inputs = [self.outputs[source] for source in _sources(layer["inbound_nodes"])]
        before = len(self.channels.cuts)
        self.outputs[name] = self._through(name, kind, config, inputs)
        known = {cut.variable for cut in self.channels.cuts[before:]}
        unknown = {variable.name for variable in self.model.get_layer(name).weights} - known
        if unknown:
            raise _cannot(name, kind, f"its variable {unknown.pop()} is of no known kind")

    def _through(self, name: str, kind: str, config: Mapping[str, Any], inputs: list[Numbers]) -> Numbers:
        last = int(self.model.get_layer(name).output.shape[-1])
        if kind == "InputLayer":
            return self._fixed(last)
        first = inputs[0]
        if kind == "Conv2D" and config["groups"] == 1:
            self._cut(name, "kernel", 2, first)
            return self._made(name, last, 3)
        if kind == "Dense":
            self._cut(name, "kernel", 0, first)
            return self._made(name, last, 1)
        if kind == "DepthwiseConv2D" and config["depth_multiplier"] == 1:
            self._cut(name, "kernel", 2, first)
            self._cut(name, "bias", 0, first)
            return first
        if kind == "BatchNormalization" and config["axis"] in (-1, 3):
            for variable in _NORMALISED:
                self._cut(name, variable, 0, first)
            return first
        if kind in _PASSES:
            if kind == "Rescaling" and not np.isscalar(config["scale"]):
                self.channels.fixed.update(map(int, first))
            return first
        if kind in _EQUAL and len({len(one) for one in inputs}) == 1:
            for other in inputs[1:]:
                self.channels.equal(first, other)
            return first
        if kind == "Concatenate" and config["axis"] in (-1, 3):
            return np.concatenate(inputs)
        if kind in ("Flatten", "Reshape"):  # the last axis is the one that runs fastest
            return first if last == len(first) else np.tile(first, last // len(first))
        if kind == "Permute" and self.channels.fixed.issuperset(map(int, first)):
            return self._fixed(last)
        raise _cannot(name, kind, "how its channels depend on each other is not known")

    def _fixed(self, count: int) -> Numbers:
        numbers = self.channels.new(count)
        self.channels.fixed.update(map(int, numbers))
        return numbers

    def _made(self, name: str, count: int, axis: int) -> Numbers:
        numbers = self.channels.makers[name] = self.channels.new(count)
        self._cut(name, "kernel", axis, numbers, makes=True)
        self._cut(name, "bias", 0, numbers, makes=True)
        return numbers

    def _cut(self, layer: str, variable: str, axis: int, numbers: Numbers, makes: bool = False) -> None:
        if any(one.name == variable for one in self.model.get_layer(layer).weights):
            self.channels.cuts.append(Cut(layer, variable, axis, numbers, makes))


def _cannot(name: str, kind: str, why: str) -> VisionloopError:
    return VisionloopError(
        f"layer {name!r} ({kind}) stands in the way of pruning: {why}",
        expected="Conv2D, DepthwiseConv2D, Dense, BatchNormalization, activations, pooling, Add, Concatenate ...",
        fix="build the network of these layers, or set compress.sparsity to 0",
    )


def _sources(nodes: Any) -> list[str]:
    """Names of the layers whose outputs go in, from Keras' own description of a call."""
    if isinstance(nodes, Mapping):
        if nodes.get("class_name") == "__keras_tensor__":
            return [nodes["config"]["keras_history"][0]]
        nodes = list(nodes.values())
    return [name for one in nodes for name in _sources(one)] if isinstance(nodes, (list, tuple)) else []
