"""A small disk, to fill up."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, room: int) -> Iterator[Path]:
    """A disk of `room` bytes (whole pages of them), mounted at `folder`."""
    folder.mkdir()
    if said := mount("-t", "tmpfs", "-o", f"size={room}", "tmpfs", str(folder)):
        pytest.skip(f"NOT TESTED: a disk that fills up; it takes the right to mount one ({said})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def mount(*words: str) -> str:
    """What `mount` has to say; nothing when it worked."""
    if not shutil.which("mount"):
        return "there is no command `mount`"
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    return done.stderr.strip() or "refused" if done.returncode else ""


def fill(folder: Path) -> None:
    """Leaves no room on the disk of `folder`."""
    handle = os.open(folder / "filler", os.O_WRONLY | os.O_CREAT)
    with suppress(OSError):
        while True:
            os.write(handle, bytes(4096))
    os.close(handle)
