"""A project folder and a fresh, migrated SQLite database for each test."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from monitoring.log.writer import PredictionLog, Record
from registry.core.settings import settings
from registry.versions.bundle import Bundle
from registry.versions.predictor import Predictor
from tests.databases import own_database
from tests.monitoring.scans import Send


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
    """The database file."""
    with own_database(home / "var" / "visionloop.db") as path:
        yield path


@pytest.fixture(scope="session")
def bundle(tiny_bundle: Bundle) -> Bundle:
    return tiny_bundle


@pytest.fixture
def send(operational: Path, bundle: Bundle) -> Send:
    predictor = Predictor(bundle, threads=1)

    def do(bodies: Sequence[bytes], version: int = 1) -> list[str]:
        log, ids = PredictionLog("service"), []
        log.start()
        for body in bodies:
            one = predictor(body)
            record = make_record(
                version=version,
                image_statistics=one.image_statistics,
                prediction_statistics=one.prediction_statistics,
                embedding=one.embedding,
            )
            log.record(record, body)
            ids.append(record.id)
        log.close()
        return ids

    return do


def make_record(**changes: object) -> Record:
    fields: dict[str, object] = {
        "id": uuid.uuid4().hex,
        "time": time.time(),
        "model": "skin_segmentation",
        "version": 1,
        "role": "live",
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
