"""The loop on a tiny data set, by the command line, against a real Prefect and a real MLflow server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.bundles import MODEL
from tests.conftest import free_ports, make_workspace
from tests.mlflow_stores import empty_store

TINY = {
    "data": {"train": 8, "val": 6, "test": 6},
    "train": {"epochs": 1, "image_size": 64, "max_seconds": 10, "decoder_channels": [32, 16, 16, 8, 8]},
    "compress": {"epochs": 1, "max_seconds": 5, "calibration": 4, "rounds": 1},
    "evaluate": {"bootstrap": 100, "samples": 1},
}


@dataclass
class Project:
    """A project folder and its command line, as a person uses them."""

    root: Path
    env: dict[str, str]

    def __call__(self, *argv: str, timeout: float = 400) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("visionloop")), *argv]
        return subprocess.run(
            command, cwd=self.root, env=self.env, capture_output=True, text=True, timeout=timeout, check=False
        )

    def port(self, name: str) -> str:
        return f"http://127.0.0.1:{self.env[f'VISIONLOOP_{name.upper()}_PORT']}"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    root = make_workspace(tmp_path_factory.mktemp("loop") / "project", **TINY)
    env = {**os.environ, **free_ports(), "VISIONLOOP_ROOT": str(root)}
    found = Project(root, env)
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    empty_store(root / "var" / "mlflow" / "mlflow.db")
    done = found("up", "--only", "prefect", "--only", "mlflow", timeout=300)
    assert done.returncode == 0, done.stderr
    yield found
    assert found("down").returncode == 0


@pytest.fixture(scope="module")
def first(project: Project) -> subprocess.CompletedProcess[str]:
    """One run of everything; the network has seen eight phantoms, so the gate must say no."""
    done = project("run", MODEL)
    assert done.returncode == 7, done.stderr + done.stdout
    return done


def test_an_untrained_version_is_registered_and_refused(
    project: Project, first: subprocess.CompletedProcess[str]
) -> None:
    assert "version 1 refused" in first.stderr
    assert "to keep this data" not in first.stderr
    decision = json.loads(project("decisions", MODEL, "--json").stdout)
    failed = [reason["rule"] for reason in decision["reasons"] if not reason["passed"]]
    assert decision["granted"] is False
    assert "metric floor" in failed
    asked = project("promote", MODEL, "1")
    assert asked.returncode == 7
    assert "refused" in asked.stderr


def test_mlflow_has_the_run_with_its_data_and_metrics(project: Project, first: object) -> None:
    api = f"{project.port('mlflow')}/api/2.0/mlflow"
    found = httpx.post(f"{api}/runs/search", json={"experiment_ids": ["0", "1", "2"]}).json()["runs"]
    run = next(run for run in found if run["data"].get("metrics"))
    metrics = {metric["key"] for metric in run["data"]["metrics"]}
    assert {"dice", "val_dice"} <= metrics
    assert run["inputs"]["dataset_inputs"][0]["dataset"]["name"]
    tags = {tag["key"] for tag in run["data"]["tags"]}
    assert {"data_hash", "git_commit", "digest"} <= tags
    version = httpx.get(f"{api}/model-versions/get", params={"name": MODEL, "version": "1"}).json()["model_version"]
    assert {tag["key"]: tag["value"] for tag in version["tags"]}["decision"] == "refused"


def test_prefect_has_the_flow_run_with_tasks_and_progress(project: Project, first: object) -> None:
    api = f"{project.port('prefect')}/api"
    runs = httpx.post(f"{api}/flow_runs/filter", json={}).json()
    assert [run["state"]["type"] for run in runs if run["name"]][-1] == "COMPLETED"
    tasks = httpx.post(f"{api}/task_runs/filter", json={}).json()
    assert {f"data of {MODEL}", f"train, compress and evaluate {MODEL}", f"decide on {MODEL} version 1"} <= {
        task["name"] for task in tasks
    }
    assert f"{MODEL}: run of the loop" in {run["name"] for run in runs}
    (limit,) = [
        one
        for one in httpx.post(f"{api}/v2/concurrency_limits/filter", json={}).json()
        if one["name"] == "visionloop-training"
    ]
    assert (limit["limit"], limit["active_slots"]) == (1, 0)
    kinds = {artifact["type"] for artifact in httpx.post(f"{api}/artifacts/filter", json={}).json()}
    assert {"progress", "markdown"} <= kinds


def test_a_run_without_a_change_skips_everything(project: Project, first: object) -> None:
    """What Python leaves beside the code is no change."""
    left = project.root / "registry" / "vision" / "__pycache__"
    left.mkdir(exist_ok=True)
    (left / "left.cpython-311.pyc").write_bytes(b"from another import")
    done = project("run", MODEL)
    assert done.returncode == 7, done.stderr
    assert done.stdout.count("skipped") >= 7, done.stdout


def test_bad_data_stops_the_loop_and_names_the_file(project: Project, first: object) -> None:
    """Last but one: the data set is fixed afterwards."""
    case = next((project.root / "data" / MODEL / "train").iterdir())
    kept = (case / "mask.nii.gz").read_bytes()
    (case / "mask.nii.gz").unlink()
    (case / "mask.nii.gz").write_bytes(kept[:60])
    bundle = (project.root / "build" / MODEL / "bundle" / "bundle.json").read_bytes()
    try:
        done = project("run", MODEL)
        assert done.returncode == 5, done.stdout + done.stderr
        assert case.name in done.stderr
        assert "fix: " in done.stderr
        assert "Traceback" not in done.stderr + done.stdout
        assert (project.root / "build" / MODEL / "bundle" / "bundle.json").read_bytes() == bundle
    finally:
        (case / "mask.nii.gz").unlink()
        (case / "mask.nii.gz").write_bytes(kept)


@pytest.mark.slow
def test_without_a_server_the_same_loop_runs_local(project: Project, first: object, tmp_path: Path) -> None:
    """--local on a project of its own whose stages were built above: MLflow's database directly, nothing to train.

    Only the data checks run again. They say what they said before, so the stages after them are skipped.
    """
    root = tmp_path / "project"
    shutil.copytree(project.root, root, ignore=shutil.ignore_patterns("var"), symlinks=True)
    with (root / "monitoring" / "checks" / "suites.py").open("a") as source:
        source.write("# another line\n")
    env = {**project.env, "VISIONLOOP_ROOT": str(root), **free_ports()}
    done = Project(root, env)("run", MODEL, "--local")
    assert done.returncode == 7, done.stderr
    assert "version 1 refused" in done.stderr
    skipped = [line for line in done.stdout.splitlines() if "skipped" in line]
    assert "✓ Check the data" in done.stdout
    assert len(skipped) >= 4, done.stdout
    assert (root / "var" / "mlflow" / "mlflow.db").is_file()


def test_without_a_version_before_there_is_nothing_to_go_back_to(project: Project, first: object) -> None:
    done = project("rollback", MODEL)
    assert done.returncode == 7, done.stdout + done.stderr
    assert "no previous version" in done.stderr
    assert "Traceback" not in done.stderr
