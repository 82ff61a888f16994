"""The prediction log into PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import fields
from pathlib import Path

import pytest

from monitoring.log import answers, embedding
from monitoring.log.writer import PredictionLog
from tests.clusters import Cluster
from tests.monitoring.conftest import make_record
from tests.serving.conftest import PROJECT
from tests.serving.postgres.conftest import Stop, stopped
from tests.waiting import until

WRITER = """
import sys
from monitoring.log.writer import PredictionLog
from tests.monitoring.conftest import make_record
log = PredictionLog("writer")
log.start()
while True:
    record = make_record()
    log.record(record)
    print(record.id, flush=True)
"""


def stored() -> set[str]:
    from monitoring.log.models import Prediction

    return set(Prediction.objects.values_list("id", flat=True))


def test_a_record_comes_back_as_it_was() -> None:
    from monitoring.log.models import Prediction

    record = make_record(
        version=7,
        role="canary",
        caller="vl_3f9a1c20b7de",
        outcome="TooLarge",
        status=413,
        image_statistics={"noise": 0.25, "bad": float("nan")},
        prediction_statistics={"confidence": 0.125},
        embedding=[1.5, -2.0],
        answer=answers.pack({"class": "apple\x00", "probability": 0.5}),
    )
    log = PredictionLog("service")
    log.start()
    log.record(record)
    log.close()
    row = Prediction.objects.get(id=record.id)
    assert row.image_statistics == {"noise": 0.25}
    assert embedding.unpack(bytes(row.embedding)).tolist() == [1.5, -2.0]
    assert abs(row.time.timestamp() - record.time) < 1e-3
    assert answers.of(row) == {"class": "apple\x00", "probability": 0.5}
    others = {field.name for field in fields(record)} - {"image_statistics", "embedding", "time", "answer"}
    assert {name: getattr(row, name) for name in others} == {name: getattr(record, name) for name in others}


def test_a_line_that_can_never_go_in_does_not_hold_up_the_others(company: Path) -> None:
    good, bad, long = make_record(), make_record(caller="a\x00b"), make_record(model="m" * 65)
    log = PredictionLog("service")
    log.start()
    for record in (bad, good, long):
        log.record(record)
    log.close()
    assert stored() & {good.id, bad.id, long.id} == {good.id}
    assert (company / "var" / "spool" / "rejected.txt").read_bytes().count(b"\n") == 2


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_an_outage_neither_loses_nor_doubles_a_prediction(company: Path, postgres: Cluster, how: Stop) -> None:
    """Records never stop coming: from this process, and from one that is killed while the database is away."""
    from monitoring.log.models import Prediction

    before, told, going = Prediction.objects.count(), [], threading.Event()
    log = PredictionLog("service")
    log.start()

    def record() -> None:
        while not going.wait(0.002):
            one = make_record()
            log.record(one)
            told.append(one.id)

    env = {**os.environ, "PYTHONPATH": str(PROJECT)}
    child = subprocess.Popen([sys.executable, "-c", WRITER], env=env, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    childs = [child.stdout.readline().strip() for _ in range(200)]
    recording = threading.Thread(target=record, daemon=True)
    recording.start()
    until(lambda: len(told) > 200)
    with stopped(postgres, how):
        childs += [child.stdout.readline().strip() for _ in range(200)]
        child.send_signal(signal.SIGKILL)
        childs += child.stdout.read().split("\n")[:-1]
        child.wait()
        many = len(told)
        until(lambda: len(told) > many + 200)
        assert log.waiting > 0
    until(lambda: set(told[:many]) <= stored())
    going.set()
    recording.join()
    until(lambda: not list((company / "var" / "spool").glob("writer-*.jsonl")))
    log.close()
    found = stored()
    assert set(told) | set(childs) <= found
    assert Prediction.objects.count() - before - len(told) - len(childs) in (0, 1)  # the one it died on telling of
