"""The prediction log: what was recorded arrives once, whatever dies or fills up in between."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from monitoring.log import embedding, inputs
from monitoring.log.shipping import KEEPER, Shipper
from monitoring.log.writer import PredictionLog
from registry.core.files import write_file
from registry.core.settings import settings
from tests.monitoring.conftest import make_record
from tests.waiting import until

WRITER = """
import sys, time
from monitoring.log.writer import PredictionLog
from tests.monitoring.conftest import make_record
log = PredictionLog("writer")
log.start()
while True:
    record = make_record()
    log.record(record, b"body" * 100)
    sys.stdout.write(record.id + "\\n")
    sys.stdout.flush()
"""


def count() -> int:
    from monitoring.log.models import Prediction

    return Prediction.objects.count()


def spool(home: Path) -> list[Path]:
    return sorted((home / "var" / "spool").glob("*"))


def test_a_record_arrives_with_all_it_holds(operational: Path, home: Path) -> None:
    from monitoring.log.models import Prediction

    log = PredictionLog("service")
    log.start()
    record = make_record(image_statistics={"noise": np.float32(0.25), "bad": float("nan")}, embedding=[1.5, -2.0, 1e9])
    log.record(record, b"the input")
    log.close()
    row = Prediction.objects.get(id=record.id)
    assert row.image_statistics == {"noise": 0.25}
    assert embedding.unpack(bytes(row.embedding)).tolist() == [1.5, -2.0, 65504.0]
    assert abs(row.time.timestamp() - record.time) < 1e-3
    kept = inputs.path_of(record.model, record.time, record.id, ".nii.gz")
    assert b"the input" not in kept.read_bytes()
    assert inputs.read(kept) == b"the input"
    assert inputs.read(kept, 3) == b"the"
    assert spool(home) == []


def test_kill_9_loses_and_doubles_nothing(operational: Path, home: Path) -> None:
    from monitoring.log.models import Prediction

    told: list[str] = []
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", WRITER], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        told += [child.stdout.readline().strip() for _ in range(400)]
        os.kill(child.pid, signal.SIGKILL)
        told += list(child.stdout.read().split("\n")[:-1])
        child.wait()
    adopter = PredictionLog("adopter")
    adopter.start()
    until(lambda: len(spool(home)) == 1)
    adopter.close()
    stored = list(Prediction.objects.values_list("id", flat=True))
    assert set(told) <= set(stored)
    assert len(stored) == len(set(stored))
    assert len(stored) - len(told) <= 3  # at most the record that each was telling of when it died


def test_segments_of_living_processes_are_left_alone(operational: Path, home: Path) -> None:
    owner, other = PredictionLog("owner"), PredictionLog("other")
    owner.record(make_record())  # holds its segment, ships nothing before its start
    other.start()
    time.sleep(0.6)
    assert count() == 0
    assert len(spool(home)) == 2
    other.close()
    owner.start()
    owner.close()
    assert count() == 1


def test_an_outage_of_the_database_only_delays(operational: Path, home: Path) -> None:
    log = PredictionLog("service")
    away = operational.with_suffix(".away")
    operational.rename(away)
    operational.mkdir()  # a folder in its place: it cannot be opened
    log.start()
    records = [make_record() for _ in range(50)]
    for record in records:
        log.record(record)
    time.sleep(0.6)
    assert log.waiting > 0
    operational.rmdir()
    away.rename(operational)
    until(lambda: log.waiting == 0)
    log.close()
    assert count() == 50


def test_a_locked_database_only_delays(operational: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import connections

    monkeypatch.setitem(connections.settings["default"], "OPTIONS", {"timeout": 0.2, "transaction_mode": "IMMEDIATE"})
    holder = sqlite3.connect(operational, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    log = PredictionLog("service")
    log.start()
    log.record(make_record())
    time.sleep(0.8)
    assert log.waiting > 0
    holder.execute("ROLLBACK")
    until(lambda: log.waiting == 0)
    log.close()
    assert count() == 1


def test_a_line_shipped_twice_is_stored_once(operational: Path, home: Path) -> None:
    log = PredictionLog("service")
    log.start()
    record = make_record()
    log.record(record)
    log.close()
    (home / "var" / "spool").mkdir(exist_ok=True)
    (home / "var" / "spool" / "dead-1-abc.jsonl").write_bytes(record.to_line() * 2)
    again = PredictionLog("again")
    again.start()
    until(lambda: len(spool(home)) == 1)
    again.close()
    assert count() == 1


def test_a_torn_last_line_and_a_broken_one_do_not_stop_the_rest(operational: Path, home: Path) -> None:
    folder = home / "var" / "spool"
    folder.mkdir()
    good = make_record()
    (folder / "dead-1-abc.jsonl").write_bytes(b'{"half": \n' + good.to_line() + make_record().to_line()[:200])
    log = PredictionLog("service")
    log.start()
    until(lambda: count() == 1)
    log.close()
    until(lambda: [path.name for path in spool(home)] == ["rejected.txt"])
    assert len((folder / "rejected.txt").read_bytes().splitlines()) == 2


def test_a_full_disk_costs_the_line_and_not_the_prediction(
    operational: Path, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = PredictionLog("service")
    log.start()
    log.record(make_record())
    until(lambda: log.waiting == 0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))  # a line begins, and its rest finds no room
    try:
        for _ in range(3):
            log.record(make_record(), b"body")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    log.record(make_record())
    log.close()
    assert log.lost == 3
    assert spool(home) == []
    assert sum("answered but not logged" in message for message in caplog.messages) == 1
    assert count() == 2


def test_segments_wait_for_a_keeper_and_do_not_become_many(
    operational: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEEPER, "there")
    monkeypatch.setattr("monitoring.log.writer.SEGMENT_BYTES", 20_000)
    log = PredictionLog("service")
    log.start()
    ids = set()
    for _ in range(20):  # of some 2.6 kB, over four rounds of handing over
        ids.add((record := make_record()).id)
        log.record(record)
        time.sleep(0.05)
    assert count() == 0
    assert log.waiting > 0
    assert 2 <= len(spool(home)) <= 4  # the first, those that were full, and the one that is written into
    Shipper().look()
    assert count() > 0
    log.close()
    Shipper().look()
    assert count() == 20
    assert spool(home) == []
    from monitoring.log.models import Prediction

    assert set(Prediction.objects.values_list("id", flat=True)) == ids


def test_retention_by_age_and_by_room(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISIONLOOP_RETENTION_MB", "1")
    settings.cache_clear()
    now = time.time()
    ages = {"old": 8 * 86400, "a": 3000, "b": 2000, "c": 1000}
    for name, age in ages.items():
        path = inputs.path_of("skin_segmentation", now - age, name, ".nii")
        write_file(path, bytes(400_000))
        os.utime(path, (now - age, now - age))
    pruned = inputs.prune(now)
    left = {path.name for path in (home / "var" / "inputs").glob("*/*/*")}
    assert left == {"b.nii", "c.nii"}
    assert pruned.files == 2
    assert pruned.left == 800_000
    assert len(list((home / "var" / "inputs" / "skin_segmentation").iterdir())) == len(
        {p.parent for p in (home / "var" / "inputs").glob("*/*/*")}
    )


def test_labelled_inputs_have_limits_of_their_own_and_leave_with_their_labels(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISIONLOOP_RETENTION_MB", "1")
    monkeypatch.setenv("VISIONLOOP_LABEL_MB", "1")
    settings.cache_clear()
    now, day = time.time(), 86400.0
    # name -> age of the input, age of its label (None: none), days
    made = {"plain": (8, None), "old": (400, 366), "first": (30, 3), "last": (30, 2), "late": (300, 1)}
    for name, (age, labelled) in made.items():
        path = inputs.path_of("skin_segmentation", now - age * day, name, ".nii.gz")
        write_file(path, bytes(400_000))
        os.utime(path, (now - age * day,) * 2)
        if labelled is not None:
            truth = path.with_name(f"{name}{inputs.TRUTH}")
            write_file(truth, b"truth")
            os.utime(truth, (now - labelled * day,) * 2)
    inputs.prune(now)
    left = {path.name for path in (home / "var" / "inputs").glob("*/*/*")}
    # Of three labelled ones of 400 kB two fit into 1 MiB: the label given first leaves, whole.
    assert left == {f"{name}{ending}" for name in ("last", "late") for ending in (".nii.gz", ".truth")}


def test_the_inputs_are_looked_through_once_a_while_for_all_services(home: Path) -> None:
    old = inputs.path_of("m", 0.0, "a" * 32, ".png")
    write_file(old, b"x")
    os.utime(old, (0, 0))
    assert inputs.prune(every_s=60).files == 1
    write_file(old, b"x")
    os.utime(old, (0, 0))
    assert inputs.prune(every_s=60).files == 0
    assert inputs.prune(time.time() + 61, every_s=60).files == 1
    (home / "var" / "inputs" / ".lock").write_text("not a time")
    write_file(old, b"x")
    os.utime(old, (0, 0))
    assert inputs.prune(every_s=60).files == 1


def test_no_retention_keeps_no_input(operational: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISIONLOOP_RETENTION_DAYS", "0")
    settings.cache_clear()
    log = PredictionLog("service")
    log.start()
    log.record(make_record(), b"body")
    log.close()
    assert count() == 1
    assert not list((home / "var").glob("inputs/*/*/*"))
