"""What `make` says to a person."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import PROJECT


@pytest.mark.parametrize(("goals", "said"), [(["setup"], ["ready; next: make demo, "]), (["down"], [])])
def test_a_setup_says_what_to_do_next_but_not_as_a_part_of_more(
    tmp_path: Path, goals: list[str], said: list[str]
) -> None:
    """In a folder whose environment is made already, with a command line that says nothing."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(PROJECT / name, tmp_path / name)
    command = tmp_path / ".venv" / "bin" / "visionloop"
    command.parent.mkdir(parents=True)
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    (tmp_path / ".venv" / ".ready").touch()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(["make", *goals], cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(said)
    assert all(line.startswith(one) for line, one in zip(lines, said, strict=True))
