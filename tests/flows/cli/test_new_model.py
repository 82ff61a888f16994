"""A seventh model from the command line: two files, and the whole loop on pictures of one's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

from flows.cli.ui import new
from registry.contract import catalog
from registry.contract.spec import Budget, Metric, ModelSpec
from registry.core.errors import BadInput
from tests.conftest import PROJECT, make_workspace
from tests.registry.imported import write_source

CLASSES = ("glass", "metal", "paper")
MOST_LINES = 30
SMALL = {
    "train": {"image_size": 64, "epochs": 60, "max_seconds": 25},
    "compress": {"epochs": 4, "max_seconds": 15, "calibration": 8, "rounds": 1},
}
"""Of the task's sections, so that the loop takes a minute; a person would leave them as they are."""


def spec_of(name: str, task: Any) -> ModelSpec:
    return ModelSpec(name, name, task, "torch", CLASSES, Metric("", "", 0.5), Budget(100, 50))


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["Rubbish", "--task", "classification", "--classes", "a,b"], "the name is"),
        (["fruit_features", "--task", "classification", "--classes", "a,b"], "there is a model"),
        (["rubbish", "--task", "classification", "--classes", "a"], "the classes are a"),
        (["rubbish", "--task", "classification", "--classes", "a,A"], "the classes are"),
        (["rubbish", "--task", "classification", "--classes", "a,b/c"], "the classes are"),
        (["rubbish", "--task", "detection", "--classes", "a", "--network", "timm/resnet18"], "the network is"),
        (["rubbish", "--task", "detection", "--classes", "a", "--metric", "macro_f1"], "the metric is"),
        (["rubbish", "--task", "segmentation", "--classes", "a", "--network", "timm/resnet18"], "the network is"),
    ],
)
def test_what_cannot_be_a_model_is_refused_and_nothing_is_written(arguments: list[str], found: str) -> None:
    before = set(catalog.FOLDER.iterdir())
    done = CliRunner().invoke(new, arguments)
    assert isinstance(done.exception, BadInput)
    assert found in done.exception.found
    assert done.exception.fix
    assert set(catalog.FOLDER.iterdir()) == before


@pytest.mark.parametrize("classes", [[], ["--classes", "a,b", "--classes-from", "."]])
def test_the_classes_are_named_once(classes: list[str]) -> None:
    done = CliRunner().invoke(new, ["rubbish", "--task", "detection", *classes])
    assert done.exit_code == 2
    assert "either --classes A,B,C or --classes-from PATH" in done.output


@pytest.mark.parametrize("task", ["classification", "detection"])
def test_the_classes_of_a_data_set_become_those_of_the_model(tmp_path: Path, task: str) -> None:
    root, source = (
        make_workspace(tmp_path / "project"),
        write_source(spec_of("x", task), tmp_path / "my pictures", 2, 3),
    )
    said = run(root, "models", "new", "rubbish", "--task", task, "--classes-from", str(source))
    assert "3 classes, read as " in said
    assert f"visionloop data import rubbish '{source}'" in said
    assert str(CLASSES).replace("'", '"') in (root / "registry" / "models" / "rubbish" / "__init__.py").read_text()


def run(root: Path, *arguments: str, module: str = "flows") -> str:
    """A command in a copy of the project, with the copy's own code."""
    code = "from flows.cli import main; main()"
    command = [sys.executable, "-c", code] if module == "flows" else [sys.executable, "-m", module]
    env = {
        **os.environ,
        "PYTHONPATH": str(root),
        "VISIONLOOP_ROOT": str(root),
        "VISIONLOOP_MLFLOW_URI": f"sqlite:///{root / 'mlflow.db'}",
    }
    done = subprocess.run([*command, *arguments], cwd=root, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("task", "metric"), [("classification", "macro_f1"), ("classification", "error_rate"), ("segmentation", "dice")]
)
def test_the_whole_loop_runs_on_a_new_model(tmp_path: Path, task: str, metric: str) -> None:
    root = make_workspace(tmp_path / "project")
    params = yaml.safe_load((root / "params.yaml").read_text())
    del params["models"]
    for section, values in SMALL.items():
        params[task][section].update(values)
    if task == "segmentation":  # it has learnt after a few epochs, which are slow on a busy machine
        params[task]["train"].update(epochs=10, max_seconds=240)
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    run(root, "models", "new", "rubbish", "--task", task, "--classes", ",".join(CLASSES), "--metric", metric)
    folder = root / "registry" / "models" / "rubbish"
    files = list(folder.glob("*.py"))
    assert len(files) <= 3
    assert sum(len(path.read_text().splitlines()) for path in files) <= MOST_LINES

    source = write_source(spec_of("rubbish", task), tmp_path / "pictures", 36, 3)
    run(root, "data", "import", "rubbish", str(source), "--look-alikes", "keep")
    run(root, "train", "rubbish", "--local")
    run(root, "promote", "rubbish", "--local")  # exits with 7 if the gate refuses
    picture = str(next((source / ("metal" if task == "classification" else "images")).iterdir()))
    said = json.loads(run(root, "predict", "rubbish", picture, "--local"))
    assert set(CLASSES) == (set(said["scores"]) if "scores" in said else {one["name"] for one in said["classes"]})
    if task == "segmentation":
        run(root, "predict", "rubbish", picture, "--local", "--out", str(tmp_path / "mask.png"))
        assert Image.open(tmp_path / "mask.png").size == Image.open(picture).size

    shutil.copytree(PROJECT / "tests", root / "tests", ignore=shutil.ignore_patterns("__pycache__", ".workspaces"))
    shutil.copy(PROJECT / "pyproject.toml", root)
    run(root, "-q", "-p", "no:cacheprovider", "tests/registry/contract", "-k", "[rubbish", module="pytest")
