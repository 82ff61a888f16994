"""What every test shares: a quiet environment, a project folder of its own, a real bundle made once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.bundle import Bundle
from registry.settings import QUIET, settings
from tests.bundles import make_tiny_bundle

PROJECT = Path(__file__).resolve().parents[1]

# Before any framework is imported: nothing may call home, and no setting of the person's own may leak in.
os.environ.update(QUIET)
for name in [name for name in os.environ if name.startswith("VISIONLOOP_")]:
    del os.environ[name]


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A sealed bundle whose network is an intensity threshold; read-only for tests."""
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project folder of the test's own, as a fresh clone has it: DVC, stages, parameters, the code they depend on."""
    root = tmp_path / "project"
    root.mkdir()
    for name in ("dvc.yaml", "params.yaml", ".dvcignore"):
        shutil.copy(PROJECT / name, root / name)
    ignore = shutil.ignore_patterns("__pycache__", "tmp", "cache")
    for name in (".dvc", "registry", "training", "monitoring"):
        shutil.copytree(PROJECT / name, root / name, ignore=ignore)
    (root / ".dvc" / "config").write_text(
        (PROJECT / ".dvc" / "config").read_text().replace("[core]", "[core]\n    no_scm = true"), encoding="utf-8"
    )
    monkeypatch.setenv("VISIONLOOP_ROOT", str(root))
    monkeypatch.setenv("VISIONLOOP_MLFLOW_URI", f"sqlite:///{root / 'mlflow.db'}")
    monkeypatch.chdir(root)
    settings.cache_clear()
    yield root
    settings.cache_clear()
