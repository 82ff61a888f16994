"""Where the checkout lies must not matter. The whole demo in such a place is in test_demo."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path

import pytest

from flows.stack import places
from flows.stack.control import Stack
from registry.core.errors import SettingsError
from registry.core.settings import read_settings, settings
from tests.flows.conftest import PROJECT
from tests.odd_places import odd_place

IN_A_PROCESS = """
import httpx, sys
from pathlib import Path
from flows.stack.control import Stack
from registry.core import database
from registry.core.settings import settings
from serving.releases import deploy, packaging
from tests.bundles import MODEL, make_scan, make_tiny_bundle
from tests.serving.controlled import Numbered

settings().apply_environment()
database.setup()
database.migrate()
stack, version = Stack(), Numbered(MODEL, 1)
tag = packaging.package(version, make_tiny_bundle(settings().var / "tiny"))
stack.up(["router", "keeper", "guard"])
try:
    deploy.follow(deploy.roll_out(version, tag, anyway="a test"))
    address = f"{settings().router_address}/v1/models/{MODEL}/predict"
    print(httpx.post(address, files={"file": ("scan.nii.gz", make_scan(1))}, timeout=60).json()["version"])
finally:
    stack.down()
"""


def test_a_version_is_packaged_started_and_asked_in_an_odd_place(tmp_path: Path, stack: Stack) -> None:
    root = odd_place(tmp_path)
    (root / "dvc.yaml").write_text("stages: {}\n")
    env = {**os.environ, "VISIONLOOP_ROOT": str(root), "VISIONLOOP_VAR": str(root / "var")}
    done = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS],
        cwd=root,
        env=env,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1"]
    found = [path for path in tmp_path.rglob("visionloop.db") if not path.is_symlink()]
    assert found == [root.resolve() / "var" / "visionloop.db"], "the database lies in the project, not beside it"


@pytest.mark.parametrize("letter", [*places.FORBIDDEN, "\n"])
def test_what_cannot_work_is_said_at_once_and_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, letter: str
) -> None:
    root = tmp_path / f"a{letter}b"
    root.mkdir()
    monkeypatch.setenv("VISIONLOOP_ROOT", str(root))
    monkeypatch.delenv("VISIONLOOP_VAR", raising=False)
    settings.cache_clear()
    with pytest.raises(SettingsError) as error:
        Stack(read_settings()).up()
    assert repr(letter) in error.value.found
    assert not list(root.iterdir())


def test_a_socket_finds_a_short_path_even_where_temporary_files_have_a_long_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr(places.tempfile, "tempdir", str(long))
    found = places.control_socket(long / "run")
    assert len(str(found).encode()) <= places.SOCKET_PATH_LIMIT
    found.parent.rmdir()


def _make(root: Path, *targets: str) -> subprocess.CompletedProcess[str]:
    # A make of its own: the suite may itself be run by one.
    env = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return subprocess.run(
        ["make", *targets], cwd=root, env=env, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_makefile_works_in_an_odd_place(tmp_path: Path) -> None:
    root = odd_place(tmp_path)
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(PROJECT / name, root / name)
    script = root / ".venv" / "bin" / "visionloop"
    script.parent.mkdir(parents=True)
    script.write_text('#!/bin/sh\necho "$0 $@"; echo "$PATH"\n')
    script.chmod(0o755)
    (root / ".venv" / ".ready").touch()
    os.utime(root / ".venv" / ".ready", (time.time() + 60, time.time() + 60))
    done = _make(root, "demo", "MODEL=weapon_detection")
    assert done.returncode == 0, done.stderr
    said, path = done.stdout.splitlines()
    assert said == ".venv/bin/visionloop demo weapon_detection"
    assert path.split(os.pathsep)[0] == str(root.resolve() / ".venv" / "bin")


def test_make_clean_deletes_nothing_that_cannot_be_made_again(tmp_path: Path) -> None:
    shutil.copy(PROJECT / "Makefile", tmp_path / "Makefile")
    for name in ("build", "data", "var"):
        (tmp_path / name).mkdir()
    done = _make(tmp_path, "clean")
    assert done.returncode == 0
    assert "kept: data/" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"Makefile", "data", "var"}
    refused = _make(tmp_path, "clean-all")
    assert refused.returncode != 0
    assert "data sets, versions, predictions and keys" in refused.stderr
    assert (tmp_path / "data").is_dir()
    assert _make(tmp_path, "clean-all", "SURE=1").returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == {"Makefile"}


def test_make_says_before_it_installs_what_cannot_work(tmp_path: Path) -> None:
    root = tmp_path / "a:b"
    root.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(PROJECT / name, root / name)
    done = _make(root, "demo")
    assert done.returncode != 0
    assert "a:b" in done.stderr
    assert not (root / ".venv").exists()


def test_mlflow_finds_its_migrations_where_the_environment_has_a_percent_sign(tmp_path: Path) -> None:
    """An environment of its own, in an odd place, that borrows the packages of this one."""
    place = tmp_path / "100%20"
    venv.create(place, with_pip=False, symlinks=True)
    (packages,) = (place / "lib").glob("*/site-packages")
    here = Path(sysconfig.get_path("purelib"))
    for name in here.iterdir():  # MLflow's own files below the odd path; everything else where it is
        if name.name == "mlflow":
            shutil.copytree(name, packages / "mlflow", ignore=shutil.ignore_patterns("build", "__pycache__"))
    (packages / "borrowed.pth").write_text(f"{PROJECT}\n{here}\n")
    code = (
        "import mlflow, sys\nfrom registry.versions.mlflow_registry import Versions\n"
        "assert '%' in mlflow.__file__\nprint(Versions(sys.argv[1]).list('nobody'))"
    )
    argv = [str(place / "bin" / "python"), "-c", code, f"sqlite:///{place / 'mlflow.db'}"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-1500:]
    assert done.stdout == "[]\n"
