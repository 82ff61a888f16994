"""Fine-tuning from a weights file that the project made itself: every model starts from it, each framework goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from registry.contract import catalog
from registry.core.files import write_file
from registry.core.settings import settings
from registry.versions.bundle import WEIGHTS
from tests.conftest import PROJECT
from tests.training.conftest import enter
from training.engines.select import engine_of, hooks_of
from training.stages.networks import starting_network
from training.stages.train import train
from training.workspace.checkpoint import load_weights, save_weights
from training.workspace.workspace import Workspace, open_workspace

NATIVE = {"torch": "w.pth", "ultralytics": "w.pt", "keras": "w.keras"}
STILL = {"image_size": 64, "epochs": 1, "learning_rate": 1e-9, "weight_decay": 0.0, "batch": 4, "max_seconds": 200}
"""A training that hardly moves: what it ends with shows what it began with."""

Start = Callable[..., Workspace]


@pytest.fixture
def start_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Call it with a model, its weights file and changes to `train`: the stage of a project of this test's own."""

    def make(model: str, weights: str, **changes: Any) -> Workspace:
        sections = yaml.safe_load((PROJECT / "params.yaml").read_text())[model]
        sections["train"] |= {"weights": weights, **changes}
        write_file(tmp_path / "params.yaml", yaml.safe_dump({"models": [model], model: sections}))
        write_file(tmp_path / "dvc.yaml", "stages: {}\n")
        write_file(tmp_path / "build" / model / "start" / "start.json", "{}\n")
        enter(monkeypatch, tmp_path)
        return open_workspace(model)

    yield make
    settings.cache_clear()


def donate(model: str, path: Path) -> dict[str, np.ndarray]:
    """Writes `path` with the weights of the model's network from another seed than any training uses."""
    spec = catalog.get(model)
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())[model]["train"]
    engine = engine_of(spec)
    network = engine.build(hooks_of(spec), params, 99)
    weights = dict(engine.weights(network))
    if path.suffix == ".safetensors":
        save_weights(path, weights)
    elif path.suffix == ".keras":
        network.save(path)
    else:
        torch.save(network.state_dict(), path)
    return weights


def parameters(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Those that random initialisation sets: kernels of convolutions and dense layers."""
    return {name: value for name, value in weights.items() if value.ndim > 1}


@pytest.mark.parametrize("form", ["safetensors", "native"])
@pytest.mark.parametrize("model", catalog.names())
def test_every_model_starts_from_a_file_of_its_own_network(
    model: str, form: str, tmp_path: Path, start_from: Start
) -> None:
    name = NATIVE[catalog.get(model).framework] if form == "native" else "w.safetensors"
    given = donate(model, tmp_path / name)
    stage = start_from(model, name)
    network, origin = starting_network(stage)
    assert origin.words == f"{name}: {len(given)} of {len(given)} tensors taken by name and shape"
    found = engine_of(stage.spec).weights(network)
    assert found.keys() == given.keys()
    for key, value in given.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


@pytest.mark.parametrize("model", ["skin_segmentation", "weapon_detection", "face_gender"])
def test_each_framework_trains_on_from_the_file(model: str, tmp_path: Path, start_from: Start) -> None:
    spec = catalog.get(model)
    name = NATIVE[spec.framework]
    given = parameters(donate(model, tmp_path / name))
    spec.data.synthesise(tmp_path / "data" / model, {"seed": 3, "train": 18, "val": 3, "test": 3})
    stage = start_from(model, name, **STILL)
    summary = train(stage)
    assert summary["pretrained"].startswith(f"{name}: ")
    assert summary["epochs"] == 1
    assert summary["steps"] >= 4
    ended = load_weights(stage.folder("train") / WEIGHTS)
    for key, value in given.items():
        np.testing.assert_allclose(ended[key], value, atol=1e-6, err_msg=key)
