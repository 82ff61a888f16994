"""A small project: 24 phantoms, a few steps, 64 x 64 pixels; MLflow on SQLite. Everything else is the real thing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from registry.contract import catalog
from registry.core.child_environment import OFFLINE_ENV
from registry.core.files import write_file
from registry.core.settings import settings
from tests.mlflow_stores import empty_store
from training.workspace.workspace import Workspace, open_workspace

for key, value in OFFLINE_ENV.items():
    os.environ.setdefault(key, value)  # before torch is imported: some of it is read only then

MODEL = "skin_segmentation"
PARAMS = {
    "data": {"seed": 3, "train": 16, "val": 8, "test": 8},
    "train": {
        "image_size": 64,
        "decoder_channels": [32, 16, 16, 8, 8],
        "epochs": 3,
        "batch": 8,
        "learning_rate": 0.005,
        "patience": 3,
        "seed": 3,
        "max_seconds": 120,
    },
    "retrain": {"epochs": 1, "learning_rate": 0.001},
    "compress": {"sparsity": 0.5, "epochs": 1, "max_seconds": 60, "calibration": 4, "rounds": 1},
    "evaluate": {"bootstrap": 100, "samples": 2},
}

Make = Callable[..., Workspace]


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantoms")
    catalog.get(MODEL).data.synthesise(out, PARAMS["data"])
    return out


def lay_out(root: Path, phantoms: Path, **changes: dict[str, object]) -> None:
    """Makes `root` a project; `changes` go over the sections of params.yaml."""
    params = {name: {**values, **changes.get(name, {})} for name, values in PARAMS.items()}
    write_file(root / "params.yaml", yaml.safe_dump({"models": [MODEL], MODEL: params}))
    write_file(root / "dvc.yaml", "stages: {}\n")
    write_file(root / "build" / MODEL / "start" / "start.json", "{}\n")
    write_file(root / "build" / MODEL / "validation" / "result.json", '{"valid": true}\n')
    (root / "data").mkdir(exist_ok=True)
    if not (root / "data" / MODEL).exists():
        (root / "data" / MODEL).symlink_to(phantoms)


def enter(monkeypatch: pytest.MonkeyPatch, root: Path, mlflow: str = "") -> None:
    monkeypatch.setenv("VISIONLOOP_ROOT", str(root))
    monkeypatch.setenv("VISIONLOOP_VAR", str(root / "var"))
    monkeypatch.setenv("VISIONLOOP_MLFLOW_URI", mlflow or f"sqlite:///{root / 'var' / 'mlflow' / 'mlflow.db'}")
    (root / "var" / "mlflow").mkdir(parents=True, exist_ok=True)
    settings.cache_clear()


@pytest.fixture
def make_stage(tmp_path: Path, phantoms: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Call it with changes to params.yaml: the stage of a project of this test's own."""

    def make(mlflow: str = "", **changes: dict[str, object]) -> Workspace:
        lay_out(tmp_path, phantoms, **changes)
        enter(monkeypatch, tmp_path, mlflow)
        return open_workspace(MODEL)

    yield make
    settings.cache_clear()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, phantoms: Path) -> Path:
    """A project in which train, compress and evaluate have run once, in this process. Do not write into it."""
    from training.stages.compress import compress
    from training.stages.evaluate import seal_bundle
    from training.stages.train import train

    root = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        lay_out(root, phantoms)
        enter(patch, root)
        empty_store(root / "var" / "mlflow" / "mlflow.db")
        stage = open_workspace(MODEL)
        train(stage)
        compress(stage)
        seal_bundle(stage)
    settings.cache_clear()
    return root


@pytest.fixture
def finished(built: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """The stage of `built`."""
    enter(monkeypatch, built)
    yield open_workspace(MODEL)
    settings.cache_clear()
