"""Channels go together, counts stay multiples of 8, and what is zero is not missed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from registry.core.errors import BundleError, SettingsError, VisionloopError
from training.engines.engine_keras import KerasEngine
from training.prune import keras_channels, keras_pruning
from training.workspace import keras_framework

SIZE = 16


def weights(model: Any) -> dict[str, Any]:
    return KerasEngine().weights(model)


@pytest.fixture
def model() -> Any:
    """A residual stream, a depthwise layer, a concatenation, a flattened tail: what the graphs of our models have."""
    _, keras = keras_framework.framework()
    keras.utils.set_random_seed(5)
    layers = keras.layers
    image = layers.Input((SIZE, SIZE, 3), name="image")
    x = layers.Rescaling(2.0, -1.0, name="scale")(image)
    x = layers.Conv2D(24, 3, padding="same", use_bias=False, name="stem")(x)
    x = stem = layers.ReLU(6.0, name="stem_relu")(layers.BatchNormalization(name="stem_norm")(x))
    x = layers.Conv2D(48, 1, use_bias=False, name="block_1_expand")(x)
    x = layers.ReLU(6.0, name="block_1_relu")(layers.BatchNormalization(name="block_1_norm")(x))
    x = layers.ZeroPadding2D(1, name="block_1_pad")(x)
    x = layers.DepthwiseConv2D(3, use_bias=False, name="block_1_depthwise")(x)
    x = layers.BatchNormalization(name="block_1_depthwise_norm")(x)
    x = layers.Conv2D(24, 1, name="block_1_project")(x)
    x = layers.Add(name="block_1_add")([stem, x])
    y = layers.Conv2D(16, 1, activation="relu", name="side")(x)
    x = layers.Concatenate(name="join")([x, y])
    x = layers.MaxPooling2D(4, name="pool")(x)
    features = layers.Dense(32, activation="relu", name="features")(layers.Flatten(name="flat")(x))
    logits = layers.Dense(3, name="classes")(layers.Dropout(0.2, name="dropout")(features))
    made = keras.Model(image, [logits, features])
    rng = np.random.default_rng(5)
    for variable in made.weights:  # moving means and the like of a trained network
        if "norm/" in variable.path:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return made


def outputs(model: Any, n: int = 4) -> list[np.ndarray]:
    x = np.random.default_rng(1).random((n, SIZE, SIZE, 3), dtype=np.float32)
    return [np.asarray(value) for value in model(x, training=False)]


def filters(model: Any, layer: str) -> int:
    return int(model.get_layer(layer).kernel.shape[-1])


def batches() -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(2)
    return [(rng.random((8, SIZE, SIZE, 3), dtype=np.float32), rng.integers(0, 3, 8)) for _ in range(2)]


def loss(values: Any, target: Any) -> Any:
    from keras import losses, ops

    return ops.mean(losses.sparse_categorical_crossentropy(target, values[0], from_logits=True))


def prune(
    model: Any, sparsity: float, blocks: dict[str, float] | None = None, keep: tuple[str, ...] = ("classes",)
) -> Any:
    return keras_pruning.prune(model, keep, sparsity, blocks or {}, batches(), loss)


def silence(model: Any, layers: tuple[str, ...], channels: slice) -> None:
    """Sets everything that makes or scales these channels to zero."""
    for name in layers:
        for variable in model.get_layer(name).weights:
            value = np.array(variable)
            value[..., channels] = 0
            if name.endswith("depthwise") and variable.name == "kernel":
                value = np.array(variable)
                value[:, :, channels] = 0
            variable.assign(value)


def test_channels_that_are_zero_are_not_missed(model: Any) -> None:
    silence(model, ("stem", "stem_norm", "block_1_project"), slice(4, 12))
    silence(model, ("block_1_expand", "block_1_norm", "block_1_depthwise", "block_1_depthwise_norm"), slice(0, 24))
    silence(model, ("side",), slice(8, 16))
    silence(model, ("features",), slice(16, 32))
    before = outputs(model)
    smaller = prune(model, 0.5, {"stem": 1 / 3, "block_1_project": 1 / 3})
    assert [filters(smaller, n) for n in ("stem", "block_1_expand", "block_1_project", "side", "features")] == [
        16, 24, 16, 8, 16,
    ]  # fmt: skip
    after = outputs(smaller)
    np.testing.assert_allclose(after[0], before[0], atol=1e-5)
    np.testing.assert_allclose(np.sort(after[1]), np.sort(before[1])[:, 16:], atol=1e-5)  # the order is free


def test_counts_are_multiples_of_eight_and_the_cost_falls(model: Any) -> None:
    smaller = prune(model, 0.6)
    makers = ("stem", "block_1_expand", "block_1_project", "side", "features")
    assert all(filters(smaller, name) % 8 == 0 for name in makers)
    assert all(filters(smaller, name) < filters(model, name) for name in makers)
    assert filters(smaller, "stem") == filters(smaller, "block_1_project")
    assert filters(smaller, "classes") == 3
    assert keras_pruning.macs(smaller) < 0.4 * keras_pruning.macs(model)


def test_kept_layers_and_blocks_of_their_own_are_respected(model: Any) -> None:
    smaller = prune(model, 0.0, {"block_1": 0.5, "block_1_project": 0.0}, keep=("classes", "side"))
    assert filters(smaller, "block_1_expand") == 24
    assert [filters(smaller, name) for name in ("stem", "side", "features")] == [24, 16, 32]
    smaller = prune(model, 0.5, {"*_expand": 0.0})
    assert [filters(smaller, name) for name in ("block_1_expand", "side")] == [48, 8]


@pytest.mark.parametrize(("blocks", "said"), [({"block_9": 0.5}, "block_9"), ({"side": 1.0}, "side is 1.0")])
def test_a_block_that_is_not_there_or_not_a_share_is_refused(model: Any, blocks: dict[str, float], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        prune(model, 0.5, blocks)


def test_without_sparsity_nothing_changes(model: Any) -> None:
    for before, after in zip(outputs(model), outputs(prune(model, 0.0)), strict=True):
        np.testing.assert_allclose(after, before, atol=1e-6)


def test_importance_is_the_squared_slope_of_the_loss_along_a_gate(model: Any) -> None:
    channels = keras_channels.number_channels(model, ["classes"])
    found = keras_pruning.importance(channels, weights(model), keras_pruning.gradients(model, batches(), loss))
    layer = model.get_layer("stem_norm")  # what scales the channels of "stem" last
    own = [np.array(layer.gamma), np.array(layer.beta)]
    expected = 0.0
    for x, y in batches():
        values = []
        for gate in (0.99, 1.01):
            for variable, value in zip((layer.gamma, layer.beta), own, strict=True):
                variable.assign(np.where(np.arange(24) == 3, gate * value, value))
            values.append(float(loss(model(x, training=False), y)))
        expected += ((values[1] - values[0]) / 0.02) ** 2
    residual = {int(channels.root(int(channels.makers[n][3]))) for n in ("stem", "block_1_project")}
    assert len(residual) == 1
    assert found[residual.pop()] == pytest.approx(expected, rel=0.05)


def test_the_least_important_go_first(model: Any) -> None:
    channels = keras_channels.number_channels(model, ["classes"])
    side = channels.roots(channels.makers["side"])
    goes = keras_pruning.plan(channels, {int(root): float(n) for n, root in enumerate(side)}, 0.5, {})
    assert set(map(int, side[:8])) <= goes
    assert not goes & set(map(int, side[8:]))


def test_a_pruned_network_is_built_again_from_its_weights_alone(model: Any) -> None:
    smaller = prune(model, 0.5)
    again = keras_pruning.reshape_like(model, weights(smaller))
    for one, other in zip(outputs(smaller), outputs(again), strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_of_another_network_are_refused(model: Any) -> None:
    good = weights(model)
    bad: list[dict[str, Any]] = [
        {name: value for name, value in good.items() if name != "side/bias"},
        good | {"stranger/kernel": np.zeros((1, 1))},
        good | {"stem_norm/gamma": np.ones(17, np.float32)},
    ]
    for wrong in bad:
        with pytest.raises(BundleError, match="do not fit"):
            keras_pruning.reshape_like(model, wrong)


def test_a_layer_whose_channels_cannot_be_followed_is_named() -> None:
    _, keras = keras_framework.framework()
    image = keras.layers.Input((SIZE, SIZE, 4), name="image")
    grouped = keras.layers.Conv2D(16, 3, groups=2, name="grouped")(image)
    model = keras.Model(image, [keras.layers.Dense(2, name="classes")(keras.layers.Flatten(name="flat")(grouped))])
    with pytest.raises(VisionloopError, match="grouped"):
        keras_channels.number_channels(model, ["classes"])
