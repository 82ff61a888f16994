"""From a prediction id to what made it, and the same result again: a real bundle in MLflow on SQLite."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.cli import cli
from monitoring.log import inputs
from monitoring.log.writer import PredictionLog, Record
from registry.core.errors import NotFound, Refused
from registry.core.settings import settings
from registry.versions.bundle import Bundle
from registry.versions.mlflow_registry import Version, Versions
from registry.versions.predictor import Predictor
from tests.bundles import MODEL, make_scan, make_tiny_bundle
from tests.databases import own_database
from tests.mlflow_stores import empty_store


@dataclass(frozen=True)
class Served:
    """A project with one registered version, which has answered once."""

    root: Path
    version: Version
    bundle: Bundle
    prediction: str
    body: bytes


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("reproduce")
    (root / "dvc.yaml").write_text("stages: {}\n")
    with pytest.MonkeyPatch.context() as patch:
        _point(patch, root)
        with own_database(root / "var" / "visionloop.db"):
            bundle = make_tiny_bundle(root / "bundle", "to be reproduced")
            version = Versions().register(bundle)
            body = make_scan(5)
            yield Served(root, version, bundle, _log(bundle, version.number, body), body)
    settings.cache_clear()


@pytest.fixture(autouse=True)
def here(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    _point(monkeypatch, served.root)


def _point(patch: pytest.MonkeyPatch, root: Path) -> None:
    patch.setenv("VISIONLOOP_ROOT", str(root))
    patch.setenv("VISIONLOOP_VAR", str(root / "var"))
    patch.setenv("VISIONLOOP_MLFLOW_URI", empty_store(root / "mlflow.db"))
    patch.chdir(root)  # MLflow without a server keeps artifacts where it is
    settings.cache_clear()


def _log(bundle: Bundle, version: int, body: bytes, **changed: object) -> str:
    """What a service does after an answer."""
    found = Predictor(bundle, threads=1)(body)
    fields = {
        "id": uuid.uuid4().hex,
        "time": time.time(),
        "model": MODEL,
        "version": version,
        "role": "live",
        "caller": "tests",
        "latency_ms": 1.0,
        "outcome": "ok",
        "status": 200,
        "image_statistics": found.image_statistics,
        "prediction_statistics": found.prediction_statistics,
        "embedding": found.embedding,
        "input_suffix": ".nii.gz",
        **changed,
    }
    log = PredictionLog("reproduce")
    log.start()
    log.record(Record(**fields), body)  # type: ignore[arg-type]
    log.close()
    return str(fields["id"])


def _run(*arguments: str) -> str:
    done = CliRunner().invoke(cli, ["reproduce", *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def test_says_what_made_a_result_and_makes_it_again(served: Served) -> None:
    manifest = served.bundle.manifest
    said = _run(served.prediction)
    for part in (f"{MODEL}@{served.version.number}", served.bundle.digest, manifest.data_hash, manifest.git_commit):
        assert part in said
    assert "image_size 128" in said
    assert "the same result" in said
    found = json.loads(_run(served.prediction, "--json"))
    assert found["preprocessing"] == manifest.preprocessing
    assert found["same"] is True
    assert all(name.isidentifier() and name.islower() for name in found), "keys that a program can use"
    assert datetime.fromisoformat(found["time"]).utcoffset() == timedelta(0)
    assert (found["model"], found["version"], found["parent"]) == (MODEL, served.version.number, None)
    numbers = {one["name"] for one in found["comparison"]}
    assert any(name.startswith("image.") for name in numbers)
    assert any(name.startswith("prediction.") for name in numbers)
    assert "embedding: relative distance" in numbers


def test_the_input_is_written_in_the_clear_where_that_is_asked(served: Served, tmp_path: Path) -> None:
    _run(served.prediction, "--save-input", str(tmp_path / "input.nii.gz"))
    assert (tmp_path / "input.nii.gz").read_bytes() == served.body


def test_another_result_is_told_and_fails(served: Served) -> None:
    """The log says something that this input and this version do not give."""
    other = Predictor(served.bundle, threads=1)(make_scan(6, contrast=0.4))
    wrong = _log(served.bundle, served.version.number, served.body, embedding=other.embedding)
    with pytest.raises(Refused, match=r"another result: 1 of .* embedding"):
        _run(wrong)
    done = CliRunner().invoke(cli, ["reproduce", wrong, "--json"])
    assert json.loads(done.stdout)["same"] is False
    assert isinstance(done.exception, Refused)
    wrong = _log(served.bundle, served.version.number, served.body, prediction_statistics=other.prediction_statistics)
    with pytest.raises(Refused, match=r"prediction\."):
        _run(wrong)


def test_an_unknown_id_is_told(served: Served) -> None:
    for identity in ("0" * 32, "../../etc/passwd", ""):
        with pytest.raises(NotFound, match="no prediction"):
            _run(identity)


def test_an_input_that_is_gone_is_told_with_what_made_the_result(served: Served) -> None:
    from monitoring.log.models import Prediction

    identity = _log(served.bundle, served.version.number, served.body)
    row = Prediction.objects.get(id=identity)
    inputs.path_of(row.model, row.time.timestamp(), row.id, row.input_suffix).unlink()
    done = CliRunner().invoke(cli, ["reproduce", identity])
    assert isinstance(done.exception, NotFound)
    assert "no longer kept" in str(done.exception)
    assert "retention_days" in done.exception.fix
    assert served.bundle.digest in done.output


def test_a_refused_request_has_no_result(served: Served) -> None:
    identity = _log(served.bundle, served.version.number, served.body, outcome="BadInput", status=422)
    done = CliRunner().invoke(cli, ["reproduce", identity])
    assert isinstance(done.exception, NotFound)
    assert "answered with 422" in str(done.exception)
    assert "no longer kept" not in done.output, "it was kept until now, or never"


def test_json_has_no_number_that_json_has_not(served: Served) -> None:
    """A statistic of the log that this version does not give any more."""
    identity = _log(served.bundle, served.version.number, served.body, prediction_statistics={"gone": 1.0})
    done = CliRunner().invoke(cli, ["reproduce", identity, "--json"])
    assert "NaN" not in done.stdout
    (gone,) = [one for one in json.loads(done.stdout)["comparison"] if one["name"] == "prediction.gone"]
    assert (gone["logged"], gone["now"], gone["within"]) == (1.0, None, False)


def test_a_version_that_was_deleted_is_told(served: Served) -> None:
    identity = _log(served.bundle, 41, served.body)
    with pytest.raises(NotFound, match="version 41 of") as caught:
        _run(identity)
    assert "backup" in caught.value.fix
