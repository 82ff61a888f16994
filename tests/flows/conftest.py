"""A stack of one's own: its own `var`, ports that are free, and nothing left when the test is over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.stack import orphans
from flows.stack.control import Stack
from registry.core.settings import Settings, read_settings, settings
from tests.conftest import PROJECT, free_ports


@contextmanager
def own_settings(root: Path) -> Iterator[Settings]:
    """Settings of the project folder `root`, given through the environment, so that children have them too."""
    with pytest.MonkeyPatch.context() as patch:
        for name, port in free_ports().items():
            patch.setenv(name, port)
        patch.setenv("VISIONLOOP_ROOT", str(root))
        patch.setenv("VISIONLOOP_VAR", str(root / "var"))
        patch.setenv("PYTHONPATH", f"{PROJECT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        settings.cache_clear()
        yield read_settings()
    settings.cache_clear()


@contextmanager
def taken_down(config: Settings) -> Iterator[Stack]:
    """A stack that is taken down, whatever a test did to it."""
    found = Stack(config)
    try:
        yield found
    finally:
        found.down()
    left = orphans.find(config.var)
    assert not left, f"left running: {left}"


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Settings]:
    with own_settings(tmp_path) as found:
        yield found


@pytest.fixture
def stack(config: Settings) -> Iterator[Stack]:
    with taken_down(config) as found:
        yield found


@pytest.fixture(scope="module")
def running_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One with nothing but its supervisor, for tests that leave that alone: it starts in two seconds."""
    with own_settings(tmp_path_factory.mktemp("stack")) as config, taken_down(config) as found:
        found.up(("home",))
        yield found
