"""train -> compress -> evaluate on phantoms, with MLflow on SQLite; and what goes wrong on the way."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from registry.core import journal
from registry.core.errors import MissingService, StorageError
from registry.core.settings import settings
from registry.versions.bundle import open_bundle
from registry.versions.predictor import Predictor
from tests.conftest import PROJECT, make_workspace
from tests.training.conftest import MODEL, PARAMS, Make, enter, lay_out
from tests.waiting import until
from training.stages.compress import REPORT, Report, compress
from training.stages.evaluate import package
from training.stages.tracking import read_run
from training.stages.train import train
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
        package(stage, track=False)
    left = {path.name for path in stage.folder("bundle").parent.iterdir()}
    assert left == {"start", "train", "compress", "metrics.json", "curves.csv"}


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
    manifest = package(stage, track=False).manifest
    assert manifest.parent is not None
    assert (manifest.parent.version, manifest.parent.digest) == (4, champion.digest)
    assert manifest.compression[: len(champion.manifest.compression)] == champion.manifest.compression


@pytest.mark.slow
def test_a_killed_training_goes_on_from_its_last_checkpoint(tmp_path: Path, phantoms: Path) -> None:
    lay_out(tmp_path, phantoms, train={"epochs": 12, "patience": 12})
    command = [sys.executable, "-m", "training", "train", MODEL]
    environment = {
        **os.environ,
        "VISIONLOOP_ROOT": str(tmp_path),
        "VISIONLOOP_VAR": str(tmp_path / "var"),
        "VISIONLOOP_MLFLOW_URI": f"sqlite:///{tmp_path / 'mlflow.db'}",
    }
    checkpoint = tmp_path / "build" / MODEL / "train" / "checkpoint"
    process = subprocess.Popen(command, env=environment)
    until(checkpoint.exists, 120)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert checkpoint.exists(), "killed before the first checkpoint or after the last"

    subprocess.run(command, env=environment, check=True, timeout=240)
    summary = json.loads((checkpoint.parent / "summary.json").read_text())
    assert summary["resumed_at"] >= 1
    assert [row["epoch"] for row in read_metrics(checkpoint.parent / "metrics.csv")] == list(range(1, 13))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_dvc_runs_the_stages_by_hand_in_a_fresh_clone(tmp_path: Path) -> None:
    """`visionloop data synth MODEL`, then `dvc repro`: no server, no folder made beforehand."""
    root = make_workspace(
        tmp_path / "project", **{name: PARAMS[name] for name in ("data", "train", "compress", "evaluate")}
    )
    shutil.copy(PROJECT / "data.dvc", root / "data.dvc")  # names data of other models, which is not there
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    bin_folder = Path(sys.executable).parent
    env = {**os.environ, "VISIONLOOP_MLFLOW_PORT": port, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    evaluate = ["dvc", "repro", "--allow-missing", f"evaluate@{MODEL}"]
    for command in (["visionloop", "data", "synth", MODEL], ["dvc", "repro", f"start@{MODEL}"], evaluate):
        done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert open_bundle(root / "build" / MODEL / "bundle").manifest.score.cases
    assert (root / "var" / "mlflow" / "mlflow.db").is_file()
    again = subprocess.run(
        ["dvc", "status", f"evaluate@{MODEL}"], cwd=root, env=env, capture_output=True, text=True, check=True
    )
    assert "changed" not in again.stdout.replace("always changed", "")
    _dvc_compares(root, env)


def _dvc_compares(root: Path, env: dict[str, str]) -> None:
    """A commit of data.dvc and dvc.lock, another parameter, and DVC says what became of the figures."""

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    config = root / ".dvc" / "config"
    config.write_text(config.read_text().replace("no_scm = true", ""))
    run("git", "init", "-q")
    (root / ".gitignore").write_text("/data\n/build\n/var\n")
    run("git", "add", ".")
    run("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a run")
    params = yaml.safe_load((root / "params.yaml").read_text())
    params[MODEL]["evaluate"]["bootstrap"] = 150
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    run("dvc", "repro", "--allow-missing", f"evaluate@{MODEL}")
    name = f"build/{MODEL}/metrics.json"
    assert json.loads(run("dvc", "metrics", "show", "--json"))[""]["data"][name]["data"]["dice"]["cases"]
    assert name in run("dvc", "metrics", "diff", "--json")
    run("dvc", "plots", "show", "--out", "plots")
    assert "curves.csv" in (root / "plots" / "index.html").read_text()
    assert "dice" in run("dvc", "exp", "show", "--csv")


def test_evaluate_imports_no_training_framework(finished: Workspace, tmp_path: Path) -> None:
    """The frameworks cost seconds, and a bundle is made without them."""
    shutil.copytree(finished.settings.root, tmp_path / "copy", symlinks=True)
    probe = (
        "import sys; from training.stages.evaluate import package; "
        "from training.workspace.workspace import open_stage; "
        f"package(open_stage({MODEL!r}), track=False); "
        "print([name for name in ('torch', 'tensorflow', 'timm', 'mlflow') if name in sys.modules])"
    )
    env = {**os.environ, "VISIONLOOP_ROOT": str(tmp_path / "copy"), "VISIONLOOP_VAR": str(tmp_path / "copy" / "var")}
    done = subprocess.run([sys.executable, "-c", probe], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.strip().splitlines()[-1:] == ["[]"], done.stdout + done.stderr
