"""What is recorded of where a version comes from: in MLflow, in its manifest, and for DVC."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from registry.core.errors import DataError
from registry.core.settings import settings
from registry.versions.bundle import open_bundle
from registry.versions.mlflow_registry import Versions
from tests.mlflow_stores import empty_store
from tests.training.conftest import MODEL, enter, lay_out
from training.stages.evaluate import package
from training.workspace.workspace import Workspace, open_workspace


def test_each_version_has_a_run_of_its_own(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluated again with another parameter: the same training, another version. Nothing of the first run changes."""
    from mlflow import MlflowClient

    root = tmp_path / "project"
    shutil.copytree(built, root, symlinks=True, ignore=shutil.ignore_patterns("var"))
    enter(monkeypatch, root)
    empty_store(root / "var" / "mlflow" / "mlflow.db")
    training = {path: path.read_bytes() for path in (root / "build" / MODEL / "train").iterdir()}
    summary = root / "build" / MODEL / "train" / "summary.json"
    said = json.loads(summary.read_text())
    training[summary] = json.dumps({**said, "git_commit": "of the training"}).encode()
    summary.write_bytes(training[summary])
    bundles = []
    for bootstrap in ("100", "120"):
        lay_out(root, tmp_path, evaluate={"bootstrap": int(bootstrap)})
        bundles.append(package(open_workspace(MODEL)))
        versions = Versions()
        version = versions.register(bundles[-1])
        run = MlflowClient(settings().mlflow_address).get_run(version.run_id)
        assert run.data.params["evaluate.bootstrap"] == bootstrap
        assert run.data.params["train.epochs"] == "3"
        assert run.data.tags["digest"] == bundles[-1].digest == version.digest
        assert run.data.tags["version"] == str(version.number)
        assert run.data.tags["git_commit"] == bundles[-1].manifest.git_commit == "of the training"
        history = MlflowClient(settings().mlflow_address).get_metric_history(version.run_id, "val_dice")
        assert [point.step for point in history] == [1, 2, 3]
    assert {path: path.read_bytes() for path in training} == training, "a stage wrote into another's output"
    runs = {version.run_id for version in Versions().list(MODEL)}
    assert len(runs) == 2
    assert {run.params["evaluate.bootstrap"] for run in map(_data_of, runs)} == {"100", "120"}
    summary.write_text(json.dumps({**said, "data_hash": "of other data"}))
    with pytest.raises(DataError, match="was trained on"):
        package(open_workspace(MODEL))


def _data_of(run_id: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(settings().mlflow_address).get_run(run_id).data


def test_dvc_gets_figures_and_curves(finished: Workspace) -> None:
    figures = json.loads(finished.folder("metrics.json").read_text())
    manifest = open_bundle(finished.folder("bundle")).manifest
    assert figures["dice"] == manifest.score.model_dump()
    assert figures["slices"].keys() == manifest.slices.keys()
    lines = finished.folder("curves.csv").read_text().splitlines()
    assert lines[0] == "epoch,loss,metric"
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2", "3", "4"]
