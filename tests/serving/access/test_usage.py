"""The meter: added up once, whatever happens to the database or to the process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from registry.core.settings import settings
from serving.access import keys, report, usage
from serving.access.control import Access, AdmittedRequest
from serving.access.usage import Flush, Meter, UsageCounts, UsageKey
from tests.databases import own_database
from tests.serving.conftest import PROJECT
from tests.waiting import until

NOW = datetime.now(UTC)
ONE = UsageCounts(requests=1, bytes_in=100, bytes_out=50, elapsed_ms=2.5)


@pytest.fixture
def base(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder and a database of the test's own."""
    own = settings().model_copy(update={"var": tmp_path})
    monkeypatch.setattr(usage, "settings", lambda: own)
    with own_database(tmp_path / "visionloop.db"):
        yield tmp_path


@contextmanager
def away() -> Iterator[None]:
    """The database is away: its address leads nowhere."""
    from django.db import connections

    entry = connections.settings["default"]
    before = entry["NAME"]
    connections["default"].close()
    del connections["default"]
    entry["NAME"] = "/nowhere/at/all.db"
    try:
        yield
    finally:
        connections["default"].close()
        del connections["default"]
        entry["NAME"] = before


def _requests() -> int:
    return sum(row.requests for row in report.rows(NOW.date(), NOW.date()))


def test_flushes_add_up_over_routers(base: Path) -> None:
    one, two = Meter(), Meter()
    for meter in (one, two, one, two, two):
        meter.count("a" * 12, "fruit_features", NOW, ONE)
        meter.flush()
    (line,) = report.rows(NOW.date(), NOW.date())
    assert (line.requests, line.bytes_in, line.bytes_out, line.elapsed_ms) == (5, 500, 250, 12.5)
    one.flush()
    assert _requests() == 5


def test_a_flush_whose_commit_was_uncertain_counts_once(base: Path) -> None:
    flush = Flush(counts={UsageKey("", "", NOW.date().isoformat()): UsageCounts(requests=3)})
    usage.write_flush(flush)
    usage.write_flush(flush)
    assert _requests() == 3


def test_a_database_that_is_away_loses_nothing(base: Path) -> None:
    meter = Meter()
    with away():
        for _ in range(60):  # as many flushes as in a minute
            meter.count("", "", NOW, ONE)
            with pytest.raises(Exception, match="unable to open"):
                meter.flush()
    meter.flush()
    meter.flush()
    assert _requests() == 60
    meter.close()
    assert not list((base / "usage").iterdir())


def test_what_cannot_be_flushed_at_the_end_waits_in_a_file(base: Path) -> None:
    meter = Meter()
    with away():
        meter.count("", "", NOW, ONE)
        meter.close()
    assert _requests() == 0
    following = Meter()
    following.adopt()
    following.adopt()
    assert _requests() == 1
    assert not list((base / "usage").iterdir())


def test_a_router_that_ends_while_the_database_is_slow_has_its_counts_in_a_file_already(base: Path) -> None:
    meter = Meter()
    meter.count("", "", NOW, ONE)
    with contextlib.closing(sqlite3.connect(base / "visionloop.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        ending = threading.Thread(target=meter.close)
        ending.start()
        until(lambda: list((base / "usage").glob("*.json")), 5)
        assert ending.is_alive()
        writer.execute("ROLLBACK")
    ending.join()
    assert _requests() == 1
    assert not list((base / "usage").iterdir())


def test_a_killed_process_leaves_its_counts_and_a_living_one_keeps_them(base: Path) -> None:
    script = (
        "import time; from datetime import UTC, datetime; from serving.access.usage import Meter, UsageCounts\n"
        "meter = Meter(); meter.count('', '', datetime.now(UTC), UsageCounts(requests=7))\n"
        "try: meter.flush()\n"
        "except Exception: print('spooled', flush=True)\n"
        "time.sleep(60)"
    )
    env = {**os.environ, "PYTHONPATH": str(PROJECT), "VISIONLOOP_DATABASE_URL": "sqlite:////nowhere/x.db"}
    env |= {"VISIONLOOP_ROOT": str(settings().root), "VISIONLOOP_VAR": str(base)}
    process = subprocess.Popen([sys.executable, "-c", script], env=env, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"spooled\n"
        Meter().adopt()
        assert _requests() == 0  # it lives: it will write them itself
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    Meter().adopt()
    assert _requests() == 7


def test_the_file_of_an_earlier_version_is_adopted(base: Path) -> None:
    folder = base / "usage"
    folder.mkdir()
    counts = ["", "", NOW.date().isoformat(), {"requests": 3, "milliseconds": 2.5}]
    (folder / "x.json").write_text(json.dumps([{"id": "a" * 32, "counts": [counts]}]))
    Meter().adopt()
    assert [(row.requests, row.elapsed_ms) for row in report.rows(NOW.date(), NOW.date())] == [(3, 2.5)]


def test_a_broken_file_is_set_aside(base: Path) -> None:
    folder = base / "usage"
    folder.mkdir()
    (folder / "x.json").write_text('[{"id": 1}]')
    Meter().adopt()
    assert (folder / "x.rejected").exists()


def test_the_month_is_the_sum_of_all_routers_and_of_what_waits(base: Path) -> None:
    one, two = Meter(), Meter()
    for _ in range(4):
        one.count("k" * 12, "", NOW, ONE)
    one.flush()
    two.count("k" * 12, "", NOW, ONE)
    assert two.month("k" * 12, NOW) == 1
    two.read_month(NOW)
    assert two.month("k" * 12, NOW) == 5
    two.count("k" * 12, "", NOW, ONE)
    assert two.month("k" * 12, NOW) == 6
    assert two.month("k" * 12, NOW.replace(year=NOW.year + 1)) == 0


def test_the_csv_has_every_column_and_runs_no_formula(base: Path) -> None:
    api_key, _ = keys.create("=cmd|' /C calc'!A0", "a, b")
    meter = Meter()
    meter.count(api_key.id, "fruit_features", NOW, ONE)
    meter.flush()
    head, row = report.as_csv(report.rows(NOW.date(), NOW.date())).splitlines()
    assert head == "day,key,name,owner,model,requests,errors,refused,bytes_in,bytes_out,elapsed_ms"
    assert row == f"{NOW.date()},{api_key.caller},'=cmd|' /C calc'!A0,\"a, b\",fruit_features,1,0,0,100,50,2.5"


@pytest.mark.parametrize("when", ["before the lines are read", "after the commit", "never"])
def test_a_report_counts_each_request_once_whenever_it_is_flushed(
    base: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    from serving.api import queries  # needs a configured Django

    access, asked = Access(), AdmittedRequest("somebody", None, None)
    access.meter.count("", "m", NOW, ONE)
    write, lines, seen = usage.write_flush, report.read, list[int]()

    def told() -> int:
        return sum(row.requests for row in queries.usage(asked, access, NOW.date(), NOW.date()).rows)

    def written(flush: Flush) -> None:
        write(flush)
        seen.append(told())  # it is in the table, and the meter does not know yet

    def read(*asked_for: Any) -> Any:
        monkeypatch.setattr(report, "read", lines)
        access.meter.flush()
        return lines(*asked_for)

    if when == "after the commit":
        monkeypatch.setattr(usage, "write_flush", written)
        access.meter.flush()
        assert seen == [1]
    elif when == "before the lines are read":
        monkeypatch.setattr(report, "read", read)
    assert told() == 1
    assert told() == 1
