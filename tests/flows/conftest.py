"""A stack of one's own: its own `var`, ports that are free, and nothing left when the test is over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.stack import orphans
from flows.stack.control import Stack
from registry.core.settings import Settings, read_settings, settings
from tests.conftest import PROJECT, free_ports


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings of a project folder of its own, given through the environment, so that children have them too."""
    for name, port in free_ports().items():
        monkeypatch.setenv(name, port)
    monkeypatch.setenv("VISIONLOOP_ROOT", str(tmp_path))
    monkeypatch.setenv("VISIONLOOP_VAR", str(tmp_path / "var"))
    monkeypatch.setenv("PYTHONPATH", f"{PROJECT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    settings.cache_clear()
    yield read_settings()
    settings.cache_clear()


@pytest.fixture
def stack(config: Settings) -> Iterator[Stack]:
    """A stack that is taken down, whatever the test did to it."""
    found = Stack(config)
    yield found
    found.down()
    left = orphans.find(config.var)
    assert not left, f"left running: {left}"
