from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.core.settings import settings


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project folder of its own, with a key file once one is needed."""
    monkeypatch.setenv("VISIONLOOP_ROOT", str(tmp_path))
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()
