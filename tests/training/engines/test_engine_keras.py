"""The loop on TensorFlow: plan, resume, stop; and the way out, to ONNX and OpenVINO."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from registry.contract import catalog
from registry.core.errors import BundleError, VisionloopError
from registry.core.media import Case, Parameters
from registry.core.runtime import open_session
from registry.vision_tasks.keras_classifier import MobileNet
from training.engines.engine_keras import KerasEngine
from training.engines.loop import fit
from training.export import onnx_export
from training.workspace.checkpoint import Checkpoints
from training.workspace.course import FitResult, TrainingListener
from training.workspace.workspace import Compression, Recipe

MODEL = "suspect_classification"
SHAPE = (3, 32, 32)
PARAMS: dict[str, Any] = {"image_size": 32, "batch": 8, "seed": 3, "classes": list(catalog.get(MODEL).classes)}
RECIPE: dict[str, Any] = {
    "epochs": 3, "batch": 8, "learning_rate": 0.01, "patience": 3, "seed": 3, "max_seconds": 200,
}  # fmt: skip


def build(params: Mapping[str, Any]) -> Any:
    """MobileNetV2 in small: what the model's own network is made of, traced in a second."""
    from keras import Model, layers

    image = layers.Input((32, 32, 3), name="pixels")
    x = layers.Rescaling(2.0, -1.0, name="scale")(image)
    for n, filters in enumerate((16, 24)):
        x = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False, name=f"block_{n}_expand")(x)
        x = layers.ReLU(6.0, name=f"block_{n}_relu")(layers.BatchNormalization(name=f"block_{n}_norm")(x))
        y = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"block_{n}_depthwise")(x)
        y = layers.BatchNormalization(name=f"block_{n}_depthwise_norm")(y)
        x = layers.Add(name=f"block_{n}_add")([x, y])
    features = layers.GlobalAveragePooling2D(name="features")(x)
    logits = layers.Dense(9, name="classes")(layers.Dropout(0.3, name="dropout")(features))
    return Model(image, [logits, features])


@pytest.fixture(scope="module")
def hooks() -> Any:
    class Small(MobileNet):
        def build(self, params: Parameters) -> Any:
            return build(params)

    return Small(catalog.get(MODEL))


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    out = tmp_path_factory.mktemp("pictures")
    data = catalog.get(MODEL).data
    data.synthesise(out, {"seed": 3, "train": 27, "val": 18, "test": 0})
    return data.cases(out)


def run(
    hooks: Any,
    cases: Sequence[Case],
    checkpoints: Checkpoints | None = None,
    listener: TrainingListener | None = None,
    **recipe: Any,
) -> FitResult:
    KerasEngine().use_threads(2)
    spec, model = catalog.get(MODEL), KerasEngine().build(hooks, PARAMS, 3)
    chosen = Recipe(**{**RECIPE, **recipe})
    return fit(KerasEngine(), spec, hooks, model, cases, PARAMS, chosen, checkpoints, listener)


def pictures(n: int = 3) -> np.ndarray:
    return np.random.default_rng(1).random((n, *SHAPE), dtype=np.float32)


def test_a_training_broken_off_between_two_steps_ends_like_one_that_was_not(
    hooks: Any, cases: list[Case], tmp_path: Path
) -> None:
    whole = run(hooks, cases)

    def interrupt(done: int, total: int, note: str) -> None:
        if done == 8:  # of three steps an epoch: in the middle of the third
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(hooks, cases, Checkpoints(tmp_path, "same"), TrainingListener(step=interrupt))
    resumed = run(hooks, cases, Checkpoints(tmp_path, "same"))

    assert (whole.resumed_at, resumed.resumed_at) == (0, 2)
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in whole.history]
    found = KerasEngine().weights(resumed.model)
    for name, value in KerasEngine().weights(whole.model).items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_a_checkpoint_of_another_training_or_half_a_one_is_not_taken(
    hooks: Any, cases: list[Case], tmp_path: Path
) -> None:
    run(hooks, cases, Checkpoints(tmp_path, "one"), epochs=1)
    assert Checkpoints(tmp_path, "one").load() is not None
    assert Checkpoints(tmp_path, "two").load() is None
    file = tmp_path / "checkpoint"
    file.write_bytes(file.read_bytes()[:-20])
    assert Checkpoints(tmp_path, "one").load() is None


def test_the_loss_falls_and_the_best_epoch_is_kept(hooks: Any, cases: list[Case]) -> None:
    fitted = run(hooks, cases, epochs=12, patience=12)
    losses = [row["loss"] for row in fitted.history]
    assert losses[-1] < 0.9 * losses[0]
    best = max(row["val_macro_f1"] for row in fitted.history)
    assert fitted.progress.best_metric == best
    assert fitted.history[fitted.progress.best_epoch - 1]["val_macro_f1"] == best
    assert len({row["val_macro_f1"] for row in fitted.history}) > 1


def test_the_rate_follows_the_course_and_time_ends_it(hooks: Any, cases: list[Case]) -> None:
    fitted = run(hooks, cases, epochs=4000, patience=4000, max_seconds=6.0)
    assert fitted.progress.stopped == "time"
    assert fitted.progress.epoch < 1000
    assert fitted.history[-1]["learning_rate"] < 0.005


def test_a_loss_that_is_not_finite_stops_it(hooks: Any, cases: list[Case]) -> None:
    with pytest.raises(VisionloopError, match="learning_rate"):
        run(hooks, cases, epochs=9, learning_rate=1e32)


def test_the_seed_alone_makes_the_first_weights(hooks: Any) -> None:
    one, same, other = (KerasEngine().weights(KerasEngine().build(hooks, PARAMS, seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert any(not np.array_equal(one[name], other[name]) for name in one)


def test_pruned_weights_are_restored_and_others_refused(hooks: Any, cases: list[Case]) -> None:
    model = KerasEngine().build(hooks, PARAMS, 3)
    pruned = KerasEngine().prune(hooks, model, cases, {**PARAMS, "blocks": {"block_1": 0.7}}, Compression(sparsity=0.5))
    weights = KerasEngine().weights(pruned.network)
    assert weights["block_0_expand/kernel"].shape[-1] == 8
    assert weights["block_1_expand/kernel"].shape[-1] == 8
    assert "block_1 0.7" in pruned.method
    before, after = KerasEngine().cost(model, SHAPE), KerasEngine().cost(pruned.network, SHAPE)
    assert after.macs < 0.6 * before.macs
    assert after.parameters < before.parameters
    again = KerasEngine().restore(hooks, PARAMS, weights)
    ours, theirs = (KerasEngine().session(hooks, one)(pictures()) for one in (pruned.network, again))
    np.testing.assert_array_equal(ours["logits"], theirs["logits"])
    with pytest.raises(BundleError):
        KerasEngine().restore(hooks, PARAMS, {name: value for name, value in weights.items() if "bias" not in name})


def test_weights_are_taken_over_by_name_and_shape(hooks: Any) -> None:
    model = KerasEngine().build(hooks, PARAMS, 3)
    own = KerasEngine().weights(model)
    given = {
        "block_0_expand/block_0_expand/kernel:0": own["block_0_expand/kernel"] + 1,  # as Keras' .h5 files call it
        "block_0_depthwise/block_0_depthwise/depthwise_kernel:0": own["block_0_depthwise/kernel"] + 2,
        "classes/kernel": np.zeros((7, 1000), np.float32),  # other classes
        "stranger/kernel": np.zeros(3, np.float32),
    }
    model, taken = KerasEngine().take_over(model, given)
    assert taken == 2
    found = KerasEngine().weights(model)
    np.testing.assert_array_equal(found["block_0_expand/kernel"], own["block_0_expand/kernel"] + 1)
    np.testing.assert_array_equal(found["block_0_depthwise/kernel"], own["block_0_depthwise/kernel"] + 2)
    np.testing.assert_array_equal(found["classes/kernel"], own["classes/kernel"])


@pytest.mark.parametrize("pruned", [False, True])
def test_onnx_and_openvino_agree_with_keras(hooks: Any, cases: list[Case], tmp_path: Path, pruned: bool) -> None:
    import onnx

    model = KerasEngine().build(hooks, PARAMS, 3)
    if pruned:
        model = KerasEngine().prune(hooks, model, cases, PARAMS, Compression(sparsity=0.5)).network
    path = KerasEngine().to_onnx(hooks, model, SHAPE, tmp_path / "network.onnx")
    assert logging.root.level == logging.WARNING, "quiet for the export only"
    ir = onnx_export.to_openvino(path, tmp_path / "network.xml")

    batch = pictures(5)
    expected = KerasEngine().session(hooks, model)(batch)
    assert list(expected) == list(hooks.OUTPUTS)
    for session in (open_session(path, "onnxruntime", "f32", 2), open_session(ir, "openvino", "f32", 2)):
        found = session(batch)
        assert set(found) == set(hooks.OUTPUTS)
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, atol=1e-4, err_msg=name)
            np.testing.assert_allclose(session(batch[:1])[name], value[:1], atol=1e-4)  # any number of pictures

    graph = onnx.load(str(path)).graph
    (image,) = graph.input
    dims = image.type.tensor_type.shape.dim
    assert (image.name, [d.dim_value for d in dims][1:], bool(dims[0].dim_param)) == ("image", [3, 32, 32], True)
    assert sum(node.op_type == "Transpose" for node in graph.node) == 0


def test_tensorflow_says_nothing_when_it_starts() -> None:
    code = (
        "from training.engines.engine_keras import KerasEngine; "
        "from training.workspace.keras_framework import framework; "
        "KerasEngine().use_threads(1); framework()[1].ops.ones(2)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert (done.stdout, done.stderr) == ("", "")


def test_batch_norm_may_stay_as_it_is_and_the_end_lie_between(hooks: Any, cases: list[Case]) -> None:
    before = KerasEngine().weights(KerasEngine().build(hooks, PARAMS, 3))
    whole = run(hooks, cases, epochs=1, keep_statistics=True).model
    ended = KerasEngine().weights(whole)
    halfway = KerasEngine().weights(run(hooks, cases, epochs=1, keep_statistics=True, average=0.5).model)
    moved = {name for name, value in ended.items() if not np.array_equal(value, before[name])}
    assert any(name.startswith("classes/") for name in moved)
    assert not any("norm" in name for name in moved)
    for name in moved:
        np.testing.assert_allclose(halfway[name], (before[name] + ended[name]) / 2, rtol=1e-4, atol=1e-5)
    assert all(layer.trainable for layer in whole.layers)
