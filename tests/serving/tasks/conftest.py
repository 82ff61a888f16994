"""A project folder of a test's own, with a database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.core.settings import settings
from tests.databases import own_database


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("VISIONLOOP_ROOT", str(tmp_path))
    monkeypatch.setenv("VISIONLOOP_VAR", str(tmp_path / "var"))
    settings.cache_clear()
    with own_database(tmp_path / "var" / "visionloop.db"):
        yield tmp_path / "var"
    settings.cache_clear()
