"""What is imported, and where to."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "theirs").mkdir()
    return tmp_path / "theirs"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "ours"
