"""Weights that somebody trained before: found, read without running code, put in by name and shape."""

from __future__ import annotations

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from registry.core.errors import BadInput, NotFound
from tests.training.conftest import Make
from training.engines.engine_torch import TorchEngine
from training.stages.networks import starting_network
from training.workspace import pretrained
from training.workspace.workspace import Workspace


@pytest.fixture
def donor(make_stage: Make) -> dict[str, np.ndarray]:
    """Weights of the test's own network, from another seed than any training here uses."""
    stage = make_stage()
    return TorchEngine().weights(TorchEngine().build(stage.spec.network, stage.params, seed=99))


def write(folder: Path, name: str, weights: dict[str, np.ndarray]) -> Path:
    path = folder / name
    tensors = {key: torch.from_numpy(np.array(value)) for key, value in weights.items()}
    if name.endswith(".safetensors"):
        from training.workspace.checkpoint import save_weights

        save_weights(path, weights)
    elif name.endswith(".npz"):
        np.savez(path, **{k: v.astype(np.float16) if v.dtype == np.float32 else v for k, v in weights.items()})
    elif name.endswith(".pth"):
        torch.save(tensors, path)
    else:
        torch.save({"state_dict": tensors, "epoch": 3}, path)
    return path


def start(stage: Workspace) -> tuple[dict[str, np.ndarray], pretrained.Origin]:
    network, origin = starting_network(stage)
    return TorchEngine().weights(network), origin


@pytest.mark.parametrize("name", ["w.safetensors", "w.npz", "w.pth", "w.pt"])
def test_training_starts_from_a_given_file(
    make_stage: Make, donor: dict[str, np.ndarray], tmp_path: Path, name: str
) -> None:
    write(tmp_path, name, donor)
    found, origin = start(make_stage(train={"weights": name}))
    assert origin.taken == len(donor)
    assert f"{name}: {len(donor)} of {len(donor)} tensors" in origin.words
    for key, value in donor.items():
        np.testing.assert_allclose(found[key], value, rtol=2e-3, atol=1e-4)


def test_only_what_fits_by_name_and_shape_is_taken(
    make_stage: Make, donor: dict[str, np.ndarray], tmp_path: Path
) -> None:
    one, two, *_ = [key for key, value in donor.items() if value.ndim == 4]
    changed = {**donor, one: donor[one][:1], "somebody.elses": np.zeros(3, np.float32)}
    write(tmp_path, "w.safetensors", changed)
    found, origin = start(make_stage(train={"weights": "w.safetensors"}))
    assert (origin.taken, len(changed)) == (len(donor) - 1, len(donor) + 1)
    assert not np.allclose(found[two], start(make_stage(train={"weights": ""}))[0][two])


def test_a_missing_file_is_named(make_stage: Make) -> None:
    with pytest.raises(NotFound, match=r"nowhere\.pt"):
        starting_network(make_stage(train={"weights": "nowhere.pt"}))


def test_weights_of_something_else_are_refused(make_stage: Make, tmp_path: Path) -> None:
    write(tmp_path, "w.safetensors", {"a": np.zeros(2, np.float32)})
    with pytest.raises(BadInput, match="none of the 1 tensors"):
        starting_network(make_stage(train={"weights": "w.safetensors"}))


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this was executed",)


def test_a_pickle_with_code_in_it_is_not_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "w.pt"
    torch.save({"model": Bomb()}, path)
    with pytest.raises(BadInput, match="state dict"):
        pretrained.read(path)
    path.with_suffix(".npz").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(BadInput):
        pretrained.read(path.with_suffix(".npz"))
    assert "executed" not in capsys.readouterr().out


def test_keras_files_are_read_by_path(tmp_path: Path) -> None:
    path = tmp_path / "w.hdf5"
    with h5py.File(path, "w") as file:
        file["model_weights/conv/conv/kernel:0"] = np.ones((3, 3, 1, 2), np.float32)
    assert {k: v.shape for k, v in pretrained.read(path).items()} == {"conv/conv/kernel": (3, 3, 1, 2)}


@pytest.mark.parametrize("name", ["w.safetensors", "w.npz", "w.pth", "w.h5", "w.txt"])
def test_rubbish_is_refused_with_the_formats(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not weights at all")
    with pytest.raises(BadInput) as caught:
        pretrained.read(tmp_path / name)
    assert "safetensors" in caught.value.expected


def test_from_scratch_says_so_and_why(make_stage: Make) -> None:
    _, origin = start(make_stage())
    assert origin.words.startswith(pretrained.SCRATCH)
    assert origin.taken == 0
