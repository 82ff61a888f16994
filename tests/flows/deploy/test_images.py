"""The image of a service: what is refused before a program builds anything."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from flows.cli import execute
from flows.deploy import images
from registry.core.errors import MissingService, Refused
from serving.releases.bento_files import RELEASE
from serving.releases.packaging import bento_folder
from tests.bundles import MODEL
from tests.conftest import PROJECT

TAG = f"{MODEL}:1-0123456789ab"


@pytest.fixture
def bento(workspace: Path) -> Path:
    """The parts of a Bento that an image is made of. Its only package is one that is always installed."""
    folder = bento_folder(TAG)
    (folder / "env" / "python").mkdir(parents=True)
    (folder / "env" / "python" / "requirements.txt").write_text("idna\n")
    (folder / "src").mkdir()
    (folder / "src" / RELEASE).write_text(json.dumps({"model": MODEL, "version": 1, "digest": "ab" * 32}))
    return folder


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a container file and the lock of this one."""
    folder = tmp_path / "checkout"
    shutil.copytree(PROJECT / "infra" / "containers", folder / "infra" / "containers")
    shutil.copy(PROJECT / "requirements.lock", folder / "requirements.lock")
    monkeypatch.setattr(images, "project_folder", lambda: folder)
    return folder


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the program `podman`, the only one on PATH, was told, and beside it the files that it was given."""
    folder = tmp_path / "bin"
    folder.mkdir()
    told = tmp_path / "words"
    script = f'#!/bin/sh\nfor word in "$@"; do echo "$word"; done > {told}\n/bin/cp -r "$word" {tmp_path}/context\n'
    (folder / "podman").write_text(script)
    (folder / "podman").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return told


def test_an_image_is_made_of_the_bento_and_the_lines_of_the_lock(bento: Path, checkout: Path, words: Path) -> None:
    assert images.build_service(TAG, "podman") == f"visionloop/{TAG}"
    told = words.read_text().splitlines()
    assert f"BASE={images.default_base()}" in told
    assert {f"visionloop.model={MODEL}", "visionloop.version=1", f"visionloop.digest={'ab' * 32}"} <= set(told)
    context = words.parent / "context"
    assert (context / "service" / RELEASE).is_file()
    assert "--hash=sha256:" in (context / "requirements.txt").read_text()
    assert not Path(told[-1]).exists()  # the files for the build are deleted


def test_another_base_takes_the_place_of_the_default(bento: Path, checkout: Path, words: Path) -> None:
    images.build_service(TAG, "podman", base="python@sha256:ab")
    assert [one for one in words.read_text().splitlines() if one.startswith("BASE=")] == ["BASE=python@sha256:ab"]


def test_without_a_checkout_nothing_is_built(bento: Path, checkout: Path, words: Path) -> None:
    shutil.rmtree(checkout / "infra")
    with pytest.raises(MissingService, match=r"service\.Containerfile is missing") as caught:
        images.build_service(TAG, "podman")
    assert "a checkout of visionloop" in caught.value.expected
    assert not words.exists()


def test_a_lock_that_differs_from_what_is_installed_is_refused(bento: Path, checkout: Path, words: Path) -> None:
    lock = checkout / "requirements.lock"
    lock.write_text("idna==0.1 \\\n    --hash=sha256:" + "a" * 64 + "\n")
    with pytest.raises(Refused, match=r"requirements\.lock has 0\.1") as caught:
        images.build_service(TAG, "podman")
    assert caught.value.fix == "`make setup`"
    assert not words.exists()


def test_a_machine_without_an_engine_ends_with_8_before_anything_is_built(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert execute(["package", MODEL, "--image"]) == 8
    assert "no program that builds images is here" in capsys.readouterr().err
