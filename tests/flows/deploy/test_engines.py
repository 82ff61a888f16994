"""Programs that build images: the one that is there, and what is said when a build cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.cli.model import package
from flows.deploy import engines
from registry.core.errors import MissingService, UsageError


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH: empty, until a test writes programs into it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_the_first_that_is_there_is_taken_or_the_one_that_is_named(programs: Path) -> None:
    program(programs, "podman", "")
    program(programs, "docker", "")
    assert engines.engine() == "podman"
    assert engines.engine("docker") == "docker"


@pytest.mark.parametrize(("name", "found"), [("", "buildah, podman, docker"), ("buildah", "is here: buildah")])
def test_a_machine_without_one_says_what_to_install(programs: Path, name: str, found: str) -> None:
    with pytest.raises(MissingService, match=found) as caught:
        engines.engine(name)
    assert "apt-get install buildah" in caught.value.fix


def test_a_build_that_fails_shows_its_last_lines(programs: Path, tmp_path: Path) -> None:
    program(programs, "podman", "i=0; while [ $i -lt 30 ]; do echo line $i >&2; i=$((i+1)); done; exit 3")
    with pytest.raises(MissingService, match="podman could not build visionloop/a:1") as caught:
        engines.build("podman", tmp_path, tmp_path / "Containerfile", "visionloop/a:1", labels={})
    assert "line 29" in caught.value.found
    assert "line 10\n" not in caught.value.found


def test_base_labels_and_further_words_reach_the_program(programs: Path, tmp_path: Path) -> None:
    program(programs, "docker", f'for word in "$@"; do echo "$word"; done > {tmp_path}/words')
    engines.build(
        "docker",
        tmp_path,
        tmp_path / "Containerfile",
        "a:1",
        base="python@sha256:ab",
        labels={"x": "1"},
        options=["--pull"],
    )
    words = (tmp_path / "words").read_text().split("\n")
    assert "BASE=python@sha256:ab" in words
    assert "x=1" in words
    assert "--pull" in words
    assert "--format" not in words  # docker has no such option


def test_options_of_an_image_without_an_image_are_refused() -> None:
    done = CliRunner().invoke(package, ["skin_segmentation", "--engine", "podman"])
    assert isinstance(done.exception, UsageError)
    assert "--image" in done.exception.fix
