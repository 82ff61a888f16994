"""A project folder and a fresh, migrated SQLite database for each test."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitoring.log import Record
from registry import database
from registry.settings import settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project root of its own; its `var` is the returned folder's `var`."""
    monkeypatch.setenv("VISIONLOOP_ROOT", str(tmp_path))
    monkeypatch.setenv("VISIONLOOP_VAR", str(tmp_path / "var"))
    settings.cache_clear()
    (tmp_path / "var").mkdir()
    yield tmp_path
    settings.cache_clear()


@pytest.fixture
def operational(home: Path) -> Iterator[Path]:
    """The database file. Django is configured once a process, so its address is turned to this test's file."""
    database.setup()
    from django.db import connections

    entry, path = connections.settings["default"], home / "var" / "visionloop.db"
    before = entry["NAME"]
    connections["default"].close()
    del connections["default"]
    entry["NAME"] = str(path)
    database.migrate()
    yield path
    connections["default"].close()
    del connections["default"]
    entry["NAME"] = before


def make_record(**changes: object) -> Record:
    fields: dict[str, object] = {
        "id": uuid.uuid4().hex,
        "time": time.time(),
        "model": "skin_segmentation",
        "version": 1,
        "role": "champion",
        "caller": "test",
        "latency_ms": 12.5,
        "outcome": "ok",
        "status": 200,
        "image_statistics": {f"s{i}": i / 7 for i in range(10)},
        "prediction_statistics": {f"p{i}": i / 7 for i in range(7)},
        "embedding": [i / 100 for i in range(320)],
        "input_suffix": ".nii.gz",
    }
    return Record(**{**fields, **changes})  # type: ignore[arg-type]
