"""train -> compress -> evaluate on phantoms, with MLflow on SQLite; and what goes wrong on the way."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from registry.core import journal
from registry.core.errors import DataError, MissingService, StorageError
from registry.core.settings import settings
from registry.versions.bundle import open_bundle
from registry.versions.mlflow_registry import Versions
from registry.versions.predictor import Predictor
from tests.mlflow_stores import empty_store
from tests.training.conftest import MODEL, Make, enter, lay_out
from training.stages.compress import compress
from training.stages.evaluate import seal_bundle
from training.stages.tracking import read_run
from training.stages.train import train
from training.stages.variants import REPORT, Report
from training.workspace.checkpoint import read_metrics
from training.workspace.workspace import Workspace, open_workspace

NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens there


def test_the_bundle_is_whole_and_answers_as_recorded(finished: Workspace) -> None:
    bundle = open_bundle(finished.folder("bundle"))
    manifest = bundle.manifest
    assert Predictor(bundle, threads=2).check_golden() == 2
    assert manifest.data_hash == finished.data_hash
    assert manifest.parent is None
    assert "scratch" in manifest.pretrained
    assert manifest.score.cases == 8
    assert {"dimensions=2-D", "dimensions=3-D"} <= set(manifest.slices)
    assert "network.onnx" in manifest.files
    assert not [name for name in manifest.files if name.endswith((".pt", ".pth", ".pkl"))]
    assert manifest.training["params"]["epochs"] == 3


def test_the_reference_has_a_row_for_every_held_out_case(finished: Workspace) -> None:
    table = pq.read_table(finished.folder("bundle") / "reference.parquet")
    assert table.num_rows == 8
    names = set(table.column_names)
    assert {"case", "origin", "score", "embedding"} <= names
    assert any(name.startswith("image.") for name in names)
    assert any(name.startswith("prediction.") for name in names)
    assert str(table.schema.field("embedding").type) == "list<element: float>"


def test_the_table_compares_dense_and_pruned(finished: Workspace) -> None:
    report = Report.read(finished.folder("compress") / REPORT)
    found = {(row.name.split()[0], row.engine, row.numerics) for row in report.variants}
    assert {
        ("dense", "torch", "f32"),
        ("dense", "openvino", "f32"),
        ("dense", "onnxruntime", "f32"),
        ("pruned", "openvino", "f32"),
        ("pruned", "openvino", "int8"),
        ("pruned", "onnxruntime", "f32"),
    } <= found
    assert sum(row.chosen for row in report.variants) == 1
    by_name = {row.name: row for row in report.variants}
    exact, exported = by_name["dense torch f32"], by_name["dense openvino f32"]
    assert exported.score.value == pytest.approx(exact.score.value, abs=0.005)
    assert by_name["pruned openvino f32"].macs < 0.7 * exact.macs


def test_mlflow_has_the_whole_run(finished: Workspace) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(settings().mlflow_address)
    run = client.get_run(read_run(finished.folder("train")))
    assert run.info.status == "FINISHED"
    assert run.data.tags["data_hash"] == finished.data_hash
    assert run.data.tags["git_commit"]
    assert run.data.params["train.learning_rate"] == "0.005"
    assert run.data.params["compress.sparsity"] == "0.5"
    assert run.data.tags["digest"] == open_bundle(finished.folder("bundle")).digest
    (dataset,) = run.inputs.dataset_inputs
    assert dataset.dataset.name == MODEL
    assert dataset.dataset.digest == finished.data_hash
    assert [m.step for m in client.get_metric_history(run.info.run_id, "val_dice")] == [1, 2, 3]
    assert [m.step for m in client.get_metric_history(run.info.run_id, "finetune_val_dice")] == [1]
    assert "dice" in run.data.metrics
    kept = {file.path for folder in ("training", "compression", "samples", "served") for file in client.list_artifacts(run.info.run_id, folder)}  # fmt: skip  # noqa: E501
    assert {"training/learning-curves.png", "compression/variants.json", "compression/variants.png"} <= kept
    assert any(path.startswith("samples/") for path in kept)
    assert Path(settings().var / "mlflow" / "artifacts").is_dir()


def test_the_journal_tells_of_every_stage(finished: Workspace) -> None:
    lines, _ = journal.read()
    done = {line["step"] for line in lines if line["kind"] == "finish" and line["outcome"] == "done"}
    assert {"train", "compress", "evaluate"} <= done
    assert any(line["kind"] == "progress" and line["step"] == "train" for line in lines)


def test_a_finished_training_is_not_done_again(finished: Workspace) -> None:
    weights = finished.folder("train") / "weights.safetensors"
    before = weights.stat().st_mtime_ns
    train(open_workspace(MODEL))
    assert weights.stat().st_mtime_ns == before


def test_mlflow_away_costs_nothing_but_its_own_part(
    make_stage: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow import MlflowClient

    with pytest.raises(MissingService, match="goes on from here"):
        train(make_stage(mlflow=NOBODY, train={"epochs": 2}))
    folder = tmp_path / "build" / MODEL / "train"
    assert capsys.readouterr().err.count("does not answer") == 1
    assert len(read_metrics(folder / "metrics.csv")) == 2
    weights = (folder / "weights.safetensors").stat().st_mtime_ns

    stage = make_stage(train={"epochs": 2})
    train(stage)
    assert (folder / "weights.safetensors").stat().st_mtime_ns == weights, "trained twice"
    history = MlflowClient(settings().mlflow_address).get_metric_history(read_run(folder), "loss")
    assert [point.step for point in history] == [1, 2]


def test_a_full_disk_leaves_no_half_bundle(
    finished: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished.settings.root, tmp_path / "copy", symlinks=True)
    enter(monkeypatch, tmp_path / "copy")
    stage = open_workspace(MODEL)
    shutil.rmtree(stage.folder("bundle"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(StorageError, match="full"):
        seal_bundle(stage, track=False)
    left = {path.name for path in stage.folder("bundle").parent.iterdir()}
    assert left == {"start", "validation", "train", "compress", "metrics.json", "curves.csv"}


def test_a_champion_is_fine_tuned_and_keeps_its_history(
    finished: Workspace, make_stage: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion = open_bundle(finished.folder("bundle"))
    stage = make_stage()
    shutil.copytree(champion.path, stage.folder("start") / "bundle")
    start = {"version": 4, "digest": champion.digest}
    (stage.folder("start") / "start.json").write_text(json.dumps(start))
    stage = open_workspace(MODEL)
    summary = train(stage, track=False)
    assert summary["epochs"] == 1
    report = compress(stage)
    assert {row.name.split()[0] for row in report.variants} == {"fine-tuned"}
    smaller = {row.parameters for row in report.variants}
    assert smaller == {champion.manifest.chosen.parameters}
    manifest = seal_bundle(stage, track=False).manifest
    assert manifest.parent is not None
    assert (manifest.parent.version, manifest.parent.digest) == (4, champion.digest)
    assert manifest.compression[: len(champion.manifest.compression)] == champion.manifest.compression


def test_evaluate_imports_no_training_framework(finished: Workspace, tmp_path: Path) -> None:
    """The frameworks cost seconds, and a bundle is made without them."""
    shutil.copytree(finished.settings.root, tmp_path / "copy", symlinks=True)
    probe = (
        "import sys; from training.stages.evaluate import seal_bundle; "
        "from training.workspace.workspace import open_workspace; "
        f"seal_bundle(open_workspace({MODEL!r}), track=False); "
        "print([name for name in ('torch', 'tensorflow', 'timm', 'mlflow') if name in sys.modules])"
    )
    env = {**os.environ, "VISIONLOOP_ROOT": str(tmp_path / "copy"), "VISIONLOOP_VAR": str(tmp_path / "copy" / "var")}
    done = subprocess.run([sys.executable, "-c", probe], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.strip().splitlines()[-1:] == ["[]"], done.stdout + done.stderr


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
        bundles.append(seal_bundle(open_workspace(MODEL)))
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
        seal_bundle(open_workspace(MODEL))


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
