"""The stages as a person runs them, in processes of their own; one of them is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from registry.versions.bundle import open_bundle
from tests.conftest import PROJECT, make_workspace
from tests.training.conftest import MODEL, PARAMS, lay_out
from tests.waiting import until
from training.workspace.checkpoint import read_metrics


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
