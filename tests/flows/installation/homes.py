"""A small installation: a version, a prediction with its input and label, a person's upload. And what it answers."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from monitoring.feedback import performance
from monitoring.log.writer import PredictionLog
from registry.core.files import write_file
from registry.core.settings import settings
from registry.versions.bundle import Bundle
from registry.versions.mlflow_registry import Versions
from registry.versions.predictor import Predictor
from serving.runs import files
from tests.monitoring.conftest import make_record
from tests.monitoring.scans import mask, scans

MODEL = "skin_segmentation"
NIFTI = "application/gzip"


def turn_to(root: Path, monkeypatch: pytest.MonkeyPatch, **more: str) -> Path:
    """Makes `root` the project folder of this process; returns its `var`."""
    for name in ("VISIONLOOP_MLFLOW_BACKEND", "VISIONLOOP_DATABASE_URL", "VISIONLOOP_ENCRYPTION_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    root.mkdir(exist_ok=True)
    given = {"VISIONLOOP_ROOT": str(root), "VISIONLOOP_VAR": str(root / "var"), **more}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    # Without a server: MLflow's database is that of the server that `up` would start.
    monkeypatch.setenv("VISIONLOOP_MLFLOW_URI", settings().mlflow_store)
    settings.cache_clear()
    return settings().var


def settle(bundle: Bundle) -> None:
    """Makes the version, the prediction, its label and the upload, as the services and the pages do."""
    from serving.accounts.models import User
    from serving.runs.models import Run

    versions = Versions()
    versions.promote(versions.register(bundle))
    body = scans(1)[0]
    one = Predictor(bundle, threads=1)(body)
    record = make_record(
        image_statistics=one.image_statistics, prediction_statistics=one.prediction_statistics, embedding=one.embedding
    )
    log = PredictionLog("service")
    log.start()
    log.record(record, body)
    log.close()
    performance.give_label(record.id, mask(), "a person")
    person = User.objects.create(email="someone@example.com")
    add_run(person, b"an upload" * 1000)
    write_file(settings().var / "decisions" / MODEL / "1.html", "<p>granted</p>")
    write_file(settings().var / "bentoml" / "bentos" / MODEL / "latest", "1")
    write_file(settings().root / "data.dvc", "outs: []\n")
    assert Run.objects.count() == 1


def add_run(person: Any, content: bytes) -> str:
    """An upload: its file first, then its row."""
    from serving.runs.models import Run

    made = uuid.uuid4().hex
    files.write(made, files.INPUT, content)
    Run.objects.create(
        id=made, owner=person, model=MODEL, name="scan.nii.gz", size=len(content), kind="scan", media=NIFTI
    )
    return made


def answers() -> dict[str, Any]:
    """What people and programs see: the champion, what it answers, the log, the label, the upload."""
    from monitoring.log.models import Feedback, Prediction
    from serving.runs.models import Run

    versions = Versions()
    champion = versions.get(MODEL)
    prediction = Predictor(versions.fetch(champion), threads=1)(scans(1)[0])
    row = Prediction.objects.get()
    label = performance.labelled(Feedback.objects.select_related("prediction").get())
    return {
        "champion": (str(champion), champion.digest, champion.aliases),
        "answer": (prediction.prediction_statistics, prediction.embedding.tolist()),
        "row": {field.attname: _bytes(getattr(row, field.attname)) for field in row._meta.concrete_fields},
        "label": (label.body, label.truth),
        "uploads": {run.id: files.read(run.id, files.INPUT) for run in Run.objects.all()},
        "page": (settings().var / "decisions" / MODEL / "1.html").read_text(),
    }


def _bytes(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value
