"""Parameters and identity."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from registry.core.errors import NotFound, SettingsError
from registry.datasets.hashing import dvc_hash
from tests.training.conftest import MODEL, Make
from training.stages.train import identity
from training.workspace.workspace import open_workspace


@pytest.mark.parametrize(
    ("section", "values", "named"),
    [
        ("train", {"epochs": 0}, "skin_segmentation.train.epochs"),
        ("train", {"learning_rate": "fast"}, "skin_segmentation.train.learning_rate"),
        ("compress", {"sparsity": 1.5}, "skin_segmentation.compress.sparsity"),
        ("evaluate", {"bootstrap": 2}, "skin_segmentation.evaluate.bootstrap"),
    ],
)
def test_a_bad_parameter_is_named(make_stage: Make, section: str, values: dict[str, object], named: str) -> None:
    with pytest.raises(SettingsError) as caught:
        make_stage(**{section: values})
    assert named in str(caught.value)


def test_missing_data_says_how_to_make_it(make_stage: Make) -> None:
    stage = make_stage()
    stage.data.unlink()
    with pytest.raises(NotFound, match="data synth"):
        _ = stage.cases


def test_hash_is_the_one_that_dvc_writes(tmp_path: Path) -> None:
    """Of a folder with one file `a` that holds `1`, as `dvc add` says it."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_text("1")
    assert dvc_hash(tmp_path / "folder") == "9af2f0a3c94f6c2d21d168c08de4d98c.dir"


def test_identity_depends_on_data_and_parameters(make_stage: Make, phantoms: Path) -> None:
    first = identity(make_stage())
    assert identity(make_stage()) == first
    assert identity(make_stage(train={"learning_rate": 0.004})) != first
    stage = make_stage()
    stage.data.unlink()
    shutil.copytree(phantoms, stage.data)
    assert identity(open_workspace(MODEL)) == first
    next(stage.data.rglob("image.nii.gz")).write_bytes(b"changed")
    assert identity(open_workspace(MODEL)) != first


def test_outside_git_the_commit_is_unknown(make_stage: Make) -> None:
    assert make_stage().git_commit == "unknown"
