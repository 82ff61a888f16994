"""Exact packages for an image, from the lock."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from flows.deploy.locked import locked
from registry.core.errors import MissingService, Refused

HASH = "sha256:" + "a" * 64


def lock(folder: Path, **versions: str) -> Path:
    path = folder / "requirements.lock"
    path.write_text("".join(f"{name}=={one} \\\n    --hash={HASH}\n" for name, one in versions.items()))
    return path


def test_what_a_package_needs_comes_with_it_and_with_its_hashes(tmp_path: Path) -> None:
    names = (
        "httpx",
        "httpcore",
        "h11",
        "anyio",
        "sniffio",
        "idna",
        "certifi",
        "typing-extensions",
        "typing_extensions",
    )
    versions = {name: version(name) for name in names if name != "sniffio"}
    lines = locked(["httpx"], lock(tmp_path, **versions)).splitlines()
    assert f"httpcore=={version('httpcore')} \\" in lines
    assert lines.count(f"    --hash={HASH}") == sum("==" in line for line in lines)


def test_one_that_goes_alone_takes_nothing_along(tmp_path: Path) -> None:
    text = locked(["httpx"], lock(tmp_path, httpx=version("httpx")), alone=["httpx"])
    assert text.startswith(f"httpx=={version('httpx')} ")


def test_another_version_than_the_lock_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"idna .* is installed, and requirements\.lock has 0\.1"):
        locked(["idna"], lock(tmp_path, idna="0.1"))


@pytest.mark.parametrize("name", ["idna", "no-such-package"])
def test_a_package_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(MissingService, match=name):
        locked([name], lock(tmp_path, httpx="1"))


def test_a_lock_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingService, match="is missing"):
        locked(["idna"], tmp_path / "requirements.lock")
