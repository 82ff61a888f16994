"""Writing in one step: what a reader sees, what the umask says, and what a failure leaves."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.core import files


@pytest.fixture
def private() -> Iterator[None]:
    """A user who lets nobody else read what he writes."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_strict_umask_is_kept(private: None, tmp_path: Path) -> None:
    assert mode(files.write_file(tmp_path / "scan.nii.gz", b"a patient")) == 0o600
    with files.new_folder(tmp_path / "report") as draft:
        files.write_file(draft / "page.html", "a patient")
    assert (mode(tmp_path / "report"), mode(tmp_path / "report" / "page.html")) == (0o700, 0o600)


def test_a_usual_umask_lets_others_read(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        assert mode(files.write_file(tmp_path / "a", b"1")) == 0o644
        with files.new_folder(tmp_path / "b"):
            pass
        assert mode(tmp_path / "b") == 0o755
    finally:
        os.umask(before)


@pytest.mark.parametrize("failing", [1, 2])
def test_a_folder_that_cannot_take_the_others_place_leaves_it_there(
    failing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "page.html").write_text("old")
    count, rename = 0, os.rename

    def once_refused(source: str, target: str) -> None:
        nonlocal count
        count += 1
        if count == failing:
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", once_refused)
    with pytest.raises(OSError, match="Input/output"), files.new_folder(tmp_path / "report") as draft:
        (draft / "page.html").write_text("new")
    assert (tmp_path / "report" / "page.html").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_a_folder_takes_the_place_of_the_other(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with files.new_folder(tmp_path / "report") as draft:
            (draft / "page.html").write_text(content)
    assert (tmp_path / "report" / "page.html").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
