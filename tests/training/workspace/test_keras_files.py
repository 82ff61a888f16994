"""Files that Keras really writes are read without building what they describe."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from registry.contract import catalog
from registry.core.errors import BadInput
from training.engines.engine_keras import KerasEngine
from training.workspace import keras_files, keras_framework, pretrained

MODELS = ("face_gender", "suspect_classification")
FILES = ("whole.keras", "only.weights.h5", "before_keras_3.h5")


@pytest.fixture(scope="module", params=MODELS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any, Path]:
    """A model's own network as training leaves it, and the folder with its files: an optimizer's state is in them."""
    _, keras = keras_framework.framework()
    network = KerasEngine().build(catalog.get(request.param).network, {"image_size": 64, "alpha": 0.35}, seed=99)
    network.compile(keras.optimizers.AdamW(0.01))
    network.optimizer.build(network.trainable_variables)
    rng = np.random.default_rng(3)
    for variable in network.weights:  # none like another
        variable.assign(rng.random(variable.shape, dtype=np.float32))
    folder = tmp_path_factory.mktemp(request.param)
    network.save_weights(folder / "only.weights.h5")
    network.save(folder / "whole.keras")
    network.save(folder / "before_keras_3.h5")
    return request.param, network, folder


@pytest.mark.parametrize("name", FILES)
def test_all_weights_of_a_trained_network_come_back(trained: tuple[str, Any, Path], name: str) -> None:
    model, network, folder = trained
    wanted = KerasEngine().weights(network)
    found = pretrained.read(folder / name)
    fresh = KerasEngine().build(catalog.get(model).network, {"image_size": 64, "alpha": 0.35}, seed=1)
    fresh, taken = KerasEngine().take_over(fresh, found)
    assert taken == len(found) == len(wanted)
    for key, value in KerasEngine().weights(fresh).items():
        np.testing.assert_array_equal(value, wanted[key], err_msg=key)


def test_layers_inside_a_layer_have_their_own_names(tmp_path: Path) -> None:
    _, keras = keras_framework.framework()
    base = catalog.get("suspect_classification").network.build({"image_size": 64, "alpha": 0.35})
    whole = keras.Sequential([keras.layers.Input((64, 64, 3)), keras.Model(base.input, base.output[1], name="base")])
    whole.add(keras.layers.Dense(4, name="theirs"))
    whole.save(tmp_path / "theirs.keras")
    found = keras_files.read(tmp_path / "theirs.keras")
    assert found["theirs/kernel"].shape == (1280, 4)
    np.testing.assert_array_equal(found["Conv1/kernel"], np.array(base.get_layer("Conv1").kernel))


def test_a_normalisation_that_lacks_a_variable_is_not_guessed_at(tmp_path: Path) -> None:
    _, keras = keras_framework.framework()
    made = keras.Sequential([keras.layers.Input((4,)), keras.layers.BatchNormalization(scale=False, name="norm")])
    made.save(tmp_path / "w.keras")
    assert not any(name.startswith("norm/") for name in keras_files.read(tmp_path / "w.keras"))


def test_code_in_a_keras_file_is_not_executed(tmp_path: Path) -> None:
    """A Lambda's function is in the file as Python bytecode; here it would leave a file behind."""
    _, keras = keras_framework.framework()
    trace = tmp_path / "executed"
    left = keras.layers.Lambda(lambda x, to=str(trace): (open(to, "w").close(), x)[1], output_shape=(4,))
    made = keras.Sequential([keras.layers.Input((4,)), left, keras.layers.Dense(2, name="classes")])
    trace.unlink(missing_ok=True)  # building it has called it
    made.save(tmp_path / "w.keras")
    with zipfile.ZipFile(tmp_path / "w.keras") as archive:
        layers = json.loads(archive.read("config.json"))["config"]["layers"]
    assert "Lambda" in [layer["class_name"] for layer in layers]
    assert sorted(pretrained.read(tmp_path / "w.keras")) == ["classes/bias", "classes/kernel"]
    assert not trace.exists()


def test_a_data_set_that_lies_in_another_file_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"0123456789abcdef")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.create_dataset("dense/dense/kernel", (4,), np.float32, external=[(str(secret), 0, 16)])
    with pytest.raises(BadInput, match="lies in another file"):
        pretrained.read(tmp_path / "w.h5")
