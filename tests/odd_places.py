"""Folders that break what takes a path for a plain word: hidden, with blanks, `ü` and `%`, long, behind a link."""

from __future__ import annotations

from pathlib import Path


def odd_place(tmp_path: Path) -> Path:
    """An empty folder with all of that in its path, reached through a symbolic link; more than 250 bytes long."""
    real = tmp_path / ".hidden" / "with blanks" / "ü 100%20" / "/".join(f"a-rather-long-name-{n:02d}" for n in range(9))
    real.mkdir(parents=True)
    link = tmp_path / "a link"
    link.symlink_to(tmp_path / ".hidden", target_is_directory=True)
    return link / real.relative_to(tmp_path / ".hidden")
