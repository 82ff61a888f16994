"""What git is to keep of a run, and where DVC keeps the data."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from flows.steps import data_versions
from registry.core.settings import settings
from tests.bundles import MODEL


def git(root: Path, *arguments: str) -> None:
    names = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", str(root), *names, *arguments], check=True, capture_output=True)


def test_what_a_run_wrote_is_named_until_it_is_committed(workspace: Path) -> None:
    assert data_versions.to_commit(MODEL) == []  # no git
    (workspace / "data" / MODEL).mkdir(parents=True)
    (workspace / "data" / MODEL / "a.txt").write_text("one")
    git(workspace, "init", "-q")
    data_versions.add(MODEL)
    git(workspace, "add", "registry", "params.yaml")
    git(workspace, "commit", "-qm", "the project")
    (workspace / "dvc.lock").write_text("schema: '2.0'\n")
    assert data_versions.to_commit(MODEL) == ["data.dvc", "dvc.lock"]
    git(workspace, "add", "data.dvc", "dvc.lock")
    git(workspace, "commit", "-qm", "a run")
    assert data_versions.to_commit(MODEL) == []
    (workspace / "data" / MODEL / "b.txt").write_text("two")
    data_versions.add(MODEL)
    assert data_versions.to_commit(MODEL) == ["data.dvc"]


def test_a_new_model_and_changed_parameters_are_named_too(workspace: Path) -> None:
    git(workspace, "init", "-q")
    git(workspace, "add", "registry", "params.yaml")
    git(workspace, "commit", "-qm", "the project")
    for name in ("rubbish", "another"):
        (workspace / "registry" / "models" / name).mkdir()
        (workspace / "registry" / "models" / name / "__init__.py").write_text("SPEC = 1\n")
    with (workspace / "params.yaml").open("a") as file:
        file.write("# mine\n")
    (workspace / "data.dvc").write_text("outs: []\n")
    named = data_versions.to_commit("rubbish")
    assert named == ["data.dvc", "params.yaml", "registry/models/rubbish"]
    git(workspace, "add", *named)
    git(workspace, "commit", "-qm", "a run", *named)
    assert data_versions.to_commit("rubbish") == []
    (workspace / "registry" / "models" / "rubbish" / "__init__.py").write_text("SPEC = 2\n")
    assert data_versions.to_commit("rubbish") == ["registry/models/rubbish"]


def test_the_data_goes_to_the_place_of_the_setting(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outside `var`, by one setting and no edit of a file."""
    monkeypatch.setenv("VISIONLOOP_DVC_REMOTE", str(tmp_path / "elsewhere"))
    settings.cache_clear()
    (workspace / "data" / MODEL).mkdir(parents=True)
    (workspace / "data" / MODEL / "a.txt").write_text("one")
    before = (workspace / ".dvc" / "config").read_bytes()
    data_versions.add(MODEL)
    assert sum(path.is_file() for path in (tmp_path / "elsewhere").rglob("*")) == 2  # the file and the folder's list
    assert not (settings().var / "dvc-remote").exists()
    assert (workspace / ".dvc" / "config").read_bytes() == before
