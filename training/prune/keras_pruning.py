"""Structured pruning of functional Keras networks: the graph is built again with fewer filters, so that every engine
gets faster, not only those that skip zeros. What is cut are the slices of all variables along their numbered channels
(`training.prune.keras_channels`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.contract.hooks import Weights
from registry.core.errors import SettingsError, first_line
from training.prune.keras_channels import Channels, number_channels
from training.workspace.engine import CHANNEL_MULTIPLE, misfit


def importance(channels: Channels, weights: Weights, gradients: Iterable[Weights]) -> dict[int, float]:
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


def plan(
    channels: Channels, importances: Mapping[int, float], sparsity: float, blocks: Mapping[str, float]
) -> set[int]:
    """The roots that go: of each space the share `sparsity` of least importance, counts staying multiples of 8.

    `blocks` sets another share for layers whose names begin with a key, which may have wildcards: {"block_13": 0.6,
    "*_project": 0.2}. The longest key counts, and of a residual stream's layers the one that gives away least.

    Raises:
        SettingsError: a key that no layer's name begins with, or a share outside [0, 1).
    """
    for key, share in blocks.items():
        if not any(_matches(name, key) for name in channels.makers):
            raise SettingsError(
                f"compress.blocks names {key!r}",
                expected=f"the beginning of a layer's name, e.g. {', '.join(list(channels.makers)[:6])}",
                fix="correct it in params.yaml",
            )
        if not 0 <= share < 1:
            raise SettingsError(
                f"compress.blocks.{key} is {share}", expected="a share in [0, 1)", fix="correct it in params.yaml"
            )
    removed: set[int] = set()
    for makers, roots in channels.spaces():
        share = min(_share(name, sparsity, blocks) for name in makers)
        stay = max(CHANNEL_MULTIPLE, int(len(roots) * (1 - share) / CHANNEL_MULTIPLE + 0.5) * CHANNEL_MULTIPLE)
        if share > 0 and stay < len(roots):
            order = np.argsort([importances.get(int(root), 0.0) for root in roots], kind="stable")
            removed.update(int(root) for root in roots[order[: len(roots) - stay]])
    return removed


def _share(name: str, sparsity: float, blocks: Mapping[str, float]) -> float:
    matching = [key for key in blocks if _matches(name, key)]
    return float(blocks[max(matching, key=len)]) if matching else sparsity


def _matches(name: str, key: str) -> bool:
    return fnmatchcase(name, f"{key}*")


def without(model: Any, channels: Channels, removed: set[int]) -> Any:
    """A new model like `model` (same layers, same names) without the channels whose roots are in `removed`."""
    weights = {variable.path: np.asarray(variable) for variable in model.weights}
    for cut in channels.cuts:
        stays = np.flatnonzero(~np.isin(channels.roots(cut.numbers), list(removed)))
        weights[cut.name] = weights[cut.name].take(stays, axis=cut.axis)
    return reshape_like(model, weights)


def reshape_like(model: Any, weights: Weights) -> Any:
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
        raise misfit(first_line(error)) from error
    return made


def _resize(layer: dict[str, Any], weights: Weights) -> None:
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
    unprunable: Iterable[str],
    sparsity: float,
    blocks: Mapping[str, float],
    batches: Iterable[tuple[Any, Any]],
    loss: Callable[[Sequence[Any], Any], Any],
) -> Any:
    """A new model with about `sparsity` of the channels of each layer removed; see `plan` and `importance`.

    Raises:
        SettingsError, VisionloopError: as `plan` and `number_channels`.
    """
    channels = number_channels(model, unprunable)
    weights = {variable.path: np.asarray(variable) for variable in model.weights}
    importances = importance(channels, weights, gradients(model, batches, loss))
    return without(model, channels, plan(channels, importances, sparsity, blocks))


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
