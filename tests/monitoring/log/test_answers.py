"""Answers that are kept with predictions: whole, within limits, and gone with them."""

from __future__ import annotations

import time
from pathlib import Path

import orjson
import pytest

from monitoring.log import answers
from monitoring.log.shipping import Shipper
from monitoring.log.spool import folder
from monitoring.log.writer import PredictionLog
from registry.core.settings import settings
from tests.monitoring.conftest import make_record


def _log(*packed: bytes | None) -> list[str]:
    log = PredictionLog("service")
    log.start()
    records = [make_record(answer=one) for one in packed]
    for record in records:
        log.record(record)
    log.close()
    return [record.id for record in records]


def test_an_answer_arrives_with_its_prediction(operational: Path) -> None:
    from monitoring.log.models import Prediction

    answer = {"class": "apple\u0000\n", "probability": 0.5, "boxes": [[1.0, 2.0]], "nothing": float("nan")}
    (first, second) = _log(answers.pack(answer), None)
    assert answers.of(Prediction.objects.get(id=first)) == {**answer, "nothing": None}
    assert answers.of(Prediction.objects.get(id=second)) is None
    Prediction.objects.all().delete()


def test_an_answer_that_is_too_large_is_not_kept() -> None:
    assert answers.pack({"text": "x" * (answers.MAX_BYTES - 20)})
    assert answers.pack({"text": "x" * answers.MAX_BYTES}) is None


def test_a_line_of_a_service_from_before_has_no_answer(operational: Path) -> None:
    from monitoring.log.models import Prediction

    record = make_record()
    line = orjson.loads(record.to_line())
    assert not {"answer", "sealed"} & line.keys()
    folder().mkdir(parents=True, exist_ok=True)
    (folder() / "old.jsonl").write_bytes(orjson.dumps(line) + b"\n")
    Shipper().look()
    assert answers.of(Prediction.objects.get(id=record.id)) is None


def test_nothing_of_an_answer_is_on_the_disk_in_the_clear(operational: Path) -> None:
    from monitoring.log.models import Answer, Prediction

    assert b"quince" not in make_record(answer=b'{"class": "quince"}').to_line()
    record = make_record()
    line = {**orjson.loads(record.to_line()), "answer": {"class": "quince"}}  # of a service from before encryption
    folder().mkdir(parents=True, exist_ok=True)
    (folder() / "old.jsonl").write_bytes(orjson.dumps(line) + b"\n")
    Shipper().look()
    kept = Answer.objects.get(prediction=record.id)
    assert (kept.content, b"quince" in bytes(kept.sealed)) == ("", False)
    assert answers.of(Prediction.objects.get(id=record.id)) == {"class": "quince"}
    Answer.objects.filter(prediction=record.id).update(sealed=None, content='{"class": "pear"}')
    assert answers.of(Prediction.objects.get(id=record.id)) == {"class": "pear"}, "a row from before encryption"
    Prediction.objects.all().delete()


def test_without_a_key_the_prediction_is_logged_and_the_answer_is_not(
    operational: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from monitoring.log.models import Prediction

    monkeypatch.setenv("VISIONLOOP_ENCRYPTION_KEY_FILE", str(operational.parent / "nowhere" / "key"))
    settings.cache_clear()
    (number,) = _log(b'{"class": "quince"}')
    monkeypatch.delenv("VISIONLOOP_ENCRYPTION_KEY_FILE")
    settings.cache_clear()
    assert answers.of(Prediction.objects.get(id=number)) is None
    Prediction.objects.all().delete()


def test_the_oldest_answers_leave_and_their_predictions_stay(
    operational: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from monitoring.log.models import Answer, Prediction

    monkeypatch.setenv("VISIONLOOP_ANSWERS_MB", "1")
    settings.cache_clear()
    ids = _log(*(answers.pack({"text": "x" * 60_000}) for _ in range(20)))
    answers.prune(time.monotonic() + 60)
    kept = set(Answer.objects.values_list("pk", flat=True))
    assert kept == set(ids[-17:])
    assert Prediction.objects.filter(id__in=ids).count() == 20
