"""dvc.yaml, "finished before" and the imports of the stages are one list."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from registry.contract import catalog
from registry.core.closure import PACKAGES
from registry.core.settings import settings
from tests.conftest import PROJECT
from training.stages.train import identity
from training.workspace.parameters import write_models
from training.workspace.sources import STAGES, declared, imported, source_hash
from training.workspace.starting_point import keep_start
from training.workspace.workspace import open_workspace

KERAS = "suspect_classification"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_lists_what_it_imports(stage: str) -> None:
    for model in catalog.names():
        listed = declared(stage, model, PROJECT)
        missing = [
            file
            for file in imported(stage, model, PROJECT)
            if not any(file == entry or file.startswith(f"{entry}/") for entry in listed)
        ]
        assert not missing, f"dvc.yaml, deps of {stage}: add {missing}"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_lists_nothing_else(stage: str) -> None:
    needed = {model: imported(stage, model, PROJECT) for model in catalog.names()}
    for entry in declared(stage, "MODEL", PROJECT):
        if entry == "monitoring/checks/expectations":  # data, which is read and not imported
            continue
        used = any(
            file == (own := entry.replace("MODEL", model)) or file.startswith(f"{own}/")
            for model, files in needed.items()
            for file in files
        )
        assert used, f"dvc.yaml, deps of {stage}: {entry} is imported by no model's {stage}"


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's code in a folder of its own, with small stand-ins for what the stages make, all up to date."""
    root = tmp_path_factory.mktemp("sources") / "project"
    for name in PACKAGES:
        shutil.copytree(PROJECT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", ".dvcignore"):
        shutil.copy(PROJECT / name, root)
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params["models"] = [KERAS]
    params[KERAS]["train"]["weights"] = "start.npz"
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    write_models(root)
    (root / "start.npz").write_bytes(b"weights of yesterday")
    case = root / "data" / KERAS / "train" / "drone"
    case.mkdir(parents=True)
    (case / "a.jpg").write_bytes(b"a picture")
    for name in ("validation", "train", "compress", "bundle"):
        (root / "build" / KERAS / name).mkdir(parents=True)
        (root / "build" / KERAS / name / "made").write_text(name)
    for name in ("metrics.json", "curves.csv"):
        (root / "build" / KERAS / name).write_text(name)
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    return root


@pytest.fixture
def project(copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    root = tmp_path / "project"
    shutil.copytree(copied, root)
    monkeypatch.setenv("VISIONLOOP_ROOT", str(root))
    monkeypatch.setenv("VISIONLOOP_VAR", str(root / "var"))
    settings.cache_clear()
    keep_start(open_workspace(KERAS))
    monkeypatch.chdir(root)  # DVC reads targets relative to the working folder
    Repo.init(str(root)).commit(f"evaluate@{KERAS}", with_deps=True, force=True)
    yield root
    settings.cache_clear()


def stale(root: Path) -> set[str]:
    """The stages that DVC would run, but for `start`, which it always runs."""
    with Repo(str(root)) as repo:
        status = repo.status([f"evaluate@{KERAS}"], with_deps=True)
    return {str(key).rpartition(":")[2].partition("@")[0] for key in status} - {"start"}


def append(file: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        with (root / file).open("a") as handle:
            handle.write("\n# another line\n")

    return change


def rewrite(file: str, content: bytes) -> Callable[[Path], None]:
    return lambda root: (root / file).write_bytes(content) and None


def other_parameter(root: Path) -> None:
    params = yaml.safe_load((root / "params.yaml").read_text())
    params[KERAS]["train"]["batch"] += 1
    (root / "params.yaml").write_text(yaml.safe_dump(params))


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        pytest.param(append("registry/vision_tasks/keras_classifier.py"), {"train"}, id="a loss"),
        pytest.param(append(f"registry/models/{KERAS}/things.py"), {"train"}, id="a helper in the model's folder"),
        pytest.param(append("training/workspace/pretrained.py"), {"train"}, id="how weights are found"),
        pytest.param(append("training/engines/engine_keras.py"), {"train"}, id="the engine"),
        pytest.param(rewrite("start.npz", b"weights of today"), {"train"}, id="the content of the weights file"),
        pytest.param(other_parameter, {"train"}, id="a parameter"),
        pytest.param(rewrite(f"data/{KERAS}/train/drone/a.jpg", b"another"), {"validate", "train"}, id="the data"),
        pytest.param(append("registry/cases/inspection.py"), {"validate", "train"}, id="what the checks look at"),
    ],
)
def test_what_makes_a_stage_run_again_also_makes_another_training(
    project: Path, change: Callable[[Path], None], stages: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.workspace.sources.closure.project_folder", lambda: project)
    assert stale(project) == set()
    before = identity(open_workspace(KERAS))
    change(project)
    keep_start(open_workspace(KERAS))
    assert stages <= stale(project)
    assert identity(open_workspace(KERAS)) != before


def test_code_that_changes_no_result_trains_nothing_again(project: Path) -> None:
    before = source_hash("train", KERAS, project)
    append("registry/core/journal.py")(project)
    append("serving/launchers/router.py")(project)
    for folder in ("registry/vision", "registry/cases", f"registry/models/{KERAS}"):
        (project / folder / "__pycache__").mkdir(exist_ok=True)
        (project / folder / "__pycache__" / "left.cpython-311.pyc").write_bytes(b"from another import")
    assert stale(project) == set()
    assert source_hash("train", KERAS, project) == before
