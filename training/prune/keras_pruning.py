"""Structured pruning of functional Keras graphs: the graph is built again with fewer filters, so that every engine gets
faster, not only those that know of zeros.

Every channel of every tensor has a number. Layers that make channels (Conv2D, Dense) give new numbers, layers that let
them through (normalisation, activation, depthwise convolution, pooling, ...) pass them on, layers that join tensors
make numbers equal (Add) or put them side by side (Concatenate). Equal numbers go together, as in DepGraph (Fang 2023,
arXiv:2301.12900); the slices of all variables along their numbered axes are what pruning cuts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.core.errors import BundleError, SettingsError, VisionloopError, first_line

ROUND_TO = 8  # odd channel counts run slower than unpruned ones in ONNX Runtime

Numbers = NDArray[np.int64]
Arrays = Mapping[str, NDArray[Any]]
"""Weights by `<layer>/<variable>`."""

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


def number(model: Any, keep: Iterable[str]) -> Channels:
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


def importance(channels: Channels, weights: Arrays, gradients: Iterable[Arrays]) -> dict[int, float]:
    """How much the loss would change, to first order, without each group of channels: by root.

    Taylor importance (Molchanov 2019, arXiv:1906.10771, their gate after normalisation): the square of the sum of
    weight times gradient over what scales a channel last, summed over batches. That is gamma and beta where a channel
    is normalised, else its filter and bias.
    """
    normalised = {
        root
        for cut in channels.cuts
        if cut.variable in ("gamma", "beta")
        for root in map(int, channels.roots(cut.numbers))
    }
    total: dict[int, float] = {}
    for one in gradients:
        gates: dict[tuple[str, int], float] = {}
        for cut in channels.cuts:
            if cut.name not in one or not (cut.makes or cut.variable in ("gamma", "beta")):
                continue
            product = (weights[cut.name] * one[cut.name]).astype(np.float64)
            others = tuple(a for a in range(product.ndim) if a != cut.axis)
            for root, change in zip(channels.roots(cut.numbers), product.sum(axis=others), strict=True):
                if cut.makes and int(root) in normalised:
                    continue
                key = cut.layer, int(root)
                gates[key] = gates.get(key, 0.0) + float(change)
        for (_, root_), change in gates.items():
            total[root_] = total.get(root_, 0.0) + change**2
    return total


def plan(channels: Channels, worth: Mapping[int, float], sparsity: float, blocks: Mapping[str, float]) -> set[int]:
    """The roots that go: of each space the share `sparsity` of least worth, counts staying multiples of 8.

    `blocks` sets another share for layers whose names begin with a key, which may have wildcards: {"block_13": 0.6,
    "*_project": 0.2}. The longest key counts, and of a residual stream's layers the one that gives away least.

    Raises:
        SettingsError: a key that no layer's name begins with, or a share outside [0, 1).
    """
    for key, share in blocks.items():
        if not any(_meant(name, key) for name in channels.makers):
            raise SettingsError(
                f"compress.blocks names {key!r}",
                expected=f"the beginning of a layer's name, e.g. {', '.join(list(channels.makers)[:6])}",
                fix="correct it in params.yaml",
            )
        if not 0 <= share < 1:
            raise SettingsError(
                f"compress.blocks.{key} is {share}", expected="a share in [0, 1)", fix="correct it in params.yaml"
            )
    goes: set[int] = set()
    for makers, roots in channels.spaces():
        share = min(_share(name, sparsity, blocks) for name in makers)
        stay = max(ROUND_TO, int(len(roots) * (1 - share) / ROUND_TO + 0.5) * ROUND_TO)
        if share > 0 and stay < len(roots):
            order = np.argsort([worth.get(int(root), 0.0) for root in roots], kind="stable")
            goes.update(int(root) for root in roots[order[: len(roots) - stay]])
    return goes


def _share(name: str, sparsity: float, blocks: Mapping[str, float]) -> float:
    matching = [key for key in blocks if _meant(name, key)]
    return float(blocks[max(matching, key=len)]) if matching else sparsity


def _meant(name: str, key: str) -> bool:
    return fnmatchcase(name, f"{key}*")


def without(model: Any, channels: Channels, goes: set[int]) -> Any:
    """A new model like `model` (same layers, same names) without the channels whose roots are in `goes`."""
    weights = {variable.path: np.asarray(variable) for variable in model.weights}
    for cut in channels.cuts:
        stays = np.flatnonzero(~np.isin(channels.roots(cut.numbers), list(goes)))
        weights[cut.name] = weights[cut.name].take(stays, axis=cut.axis)
    return reshape_like(model, weights)


def reshape_like(model: Any, weights: Arrays) -> Any:
    """A new model like `model` with the channel counts and the values of `weights`: the shapes say all.

    Raises:
        BundleError: `weights` are of another architecture.
    """
    import keras

    config = model.get_config()
    for layer in config["layers"]:
        _resize(layer, weights)
    try:
        made = keras.Model.from_config(config)
        found = {variable.path: variable for variable in made.weights}
        if odd := sorted(set(found) ^ set(weights)):
            raise ValueError(f"{odd[0]} is only in one of them")
        for name, variable in found.items():
            variable.assign(weights[name])
    except ValueError as error:
        raise BundleError(
            f"the weights do not fit the network: {first_line(error)}",
            expected="weights of this model's network, whole or pruned",
            fix="train from scratch: empty build/<model>/start",
        ) from error
    return made


def _resize(layer: dict[str, Any], weights: Arrays) -> None:
    """Sets a layer's count of channels in its description."""
    layer.pop("build_config", None)  # the shapes that the old one was built with
    kind, config = layer["class_name"], layer["config"]
    kernel = weights.get(f"{config['name']}/kernel")
    if kind == "Conv2D" and kernel is not None:
        config["filters"] = int(kernel.shape[-1])
    elif kind == "Dense" and kernel is not None:
        config["units"] = int(kernel.shape[-1])
    elif kind == "Reshape" and -1 not in config["target_shape"]:
        config["target_shape"] = (*config["target_shape"][:-1], -1)


def gradients(
    model: Any, batches: Iterable[tuple[Any, Any]], loss: Callable[[Sequence[Any], Any], Any]
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """The loss's gradients over each batch of (x, y), by variable; the network as it serves (no batch statistics)."""
    import tensorflow as tf

    variables = model.trainable_variables
    values = [variable.value for variable in variables]

    @tf.function(reduce_retracing=True)
    def slope(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            value = loss(model(x, training=False), y)
        return tape.gradient(value, values, unconnected_gradients="zero")

    for x, y in batches:
        found = slope(tf.constant(x), tf.constant(y))
        yield {v.path: np.asarray(g) for v, g in zip(variables, found, strict=True)}


def prune(
    model: Any,
    keep: Iterable[str],
    sparsity: float,
    blocks: Mapping[str, float],
    batches: Iterable[tuple[Any, Any]],
    loss: Callable[[Sequence[Any], Any], Any],
) -> Any:
    """A new model with about `sparsity` of the channels of each layer removed; see `plan` and `importance`.

    Raises:
        SettingsError, VisionloopError: as `plan` and `number`.
    """
    channels = number(model, keep)
    weights = {variable.path: np.asarray(variable) for variable in model.weights}
    worth = importance(channels, weights, gradients(model, batches, loss))
    return without(model, channels, plan(channels, worth, sparsity, blocks))


def macs(model: Any) -> int:
    """Multiply-accumulates of one input: convolutions and dense layers, as torch-pruning counts them."""
    total = 0
    for layer in model.layers:
        kernel = next((v for v in layer.weights if v.name == "kernel"), None)
        if kernel is None:
            continue
        places = int(np.prod(layer.output.shape[1:-1])) if len(layer.output.shape) > 2 else 1
        total += places * int(np.prod(kernel.shape))
    return total
