"""Everything that grows has a limit: what is older, or takes more room, leaves; what is newest, or labelled, stays."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitoring.log import retention
from monitoring.log.shipping import Shipper
from monitoring.log.spool import folder
from monitoring.log.writer import PredictionLog
from registry.core import journal
from registry.core.settings import settings
from tests.monitoring.conftest import make_record
from tests.waiting import until

DAY = 86400.0


@pytest.fixture
def limited(operational: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The `var` of a project with small limits: 1 MiB where it is room, 50 predictions."""
    for name, value in {"REPORT_MB": 1, "JOURNAL_MB": 1, "LOG_MB": 1, "PREDICTION_ROWS": 50}.items():
        monkeypatch.setenv(f"VISIONLOOP_{name}", str(value))
    settings.cache_clear()
    return operational.parent


def made(path: Path, size: int, days: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    when = time.time() - days * DAY
    os.utime(path, (when, when))
    os.utime(path.parent, (when, when))
    return path


def predicted(days: float, labelled: float | None = None, model: str = "m") -> str:
    from monitoring.log.models import Feedback, Prediction

    now = datetime.now(UTC)
    row = Prediction.objects.create(
        id=uuid.uuid4().hex, time=now - timedelta(days=days), model=model, version=1, role="live", latency_ms=1,
        outcome="ok", status=200,
    )  # fmt: skip
    if labelled is not None:
        Feedback.objects.create(prediction=row, time=now - timedelta(days=labelled))
    return str(row.id)


def left() -> set[str]:
    from monitoring.log.models import Prediction

    return set(Prediction.objects.values_list("id", flat=True))


def test_reports_leave_by_age_and_room_and_the_latest_of_each_model_stays(limited: Path) -> None:
    reports = limited / "reports"
    sizes = {"a/old": (10, 91), "a/big": (700_000, 3), "a/bigger": (700_000, 2), "a/new": (10, 1), "b/only": (10, 400)}
    for name, (size, days) in sizes.items():
        made(reports / name / "index.html", size, days)
    retention.prune()
    assert {str(path.parent.relative_to(reports)) for path in reports.glob("*/*/index.html")} == {
        "a/bigger", "a/new", "b/only"
    }  # fmt: skip


def test_evidently_s_runs_leave_alike(limited: Path) -> None:
    runs = limited / "evidently" / str(uuid.uuid4()) / "snapshots"
    for name, (size, days) in {"old": (10, 91), "mid": (900_000, 3), "next": (900_000, 2), "new": (10, 1)}.items():
        made(runs / f"{name}.json", size, days)
    retention.prune()
    assert {path.stem for path in runs.iterdir()} == {"next", "new"}


def test_verdicts_leave_by_age_and_the_latest_of_each_model_stays(limited: Path) -> None:
    from monitoring.log.models import Verdict

    for model, days in (("a", 200), ("a", 100), ("a", 1), ("b", 300)):
        Verdict.objects.create(
            id=f"{model}{days}", time=datetime.now(UTC) - timedelta(days=days), model=model, version=1, predictions=1,
            labels=0, drifted=False, action="none", why="",
        )  # fmt: skip
    retention.prune()
    assert set(Verdict.objects.values_list("id", flat=True)) == {"a1", "b300"}


def test_predictions_leave_by_age_and_number_and_labelled_ones_as_long_as_their_label(limited: Path) -> None:
    predicted(91)
    predicted(400, labelled=366)
    labelled = {predicted(91, labelled=1), predicted(50, labelled=50)}
    predicted(80)
    newest = {predicted(0.001 * n) for n in range(48)}
    retention.prune()
    assert left() == labelled | newest


def test_many_rows_leave_over_several_calls_and_nobody_waits_long(
    limited: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "ROWS_AT_ONCE", 10)
    for _ in range(40):
        predicted(100)
    new = predicted(0)
    monkeypatch.setattr(retention, "MAX_DELETE_S", -1.0)
    retention.prune()
    assert len(left()) == 41
    monkeypatch.setattr(retention, "MAX_DELETE_S", 30.0)
    retention.prune()
    assert left() == {new}


def test_a_journal_that_grew_is_begun_anew_and_read_on(limited: Path) -> None:
    while journal.end_of_file() < 2**20:
        journal.fact("data", "x" * 50_000)
    offset = journal.end_of_file()
    retention.prune()
    assert not journal.path().exists()
    assert journal.path().with_name("journal.jsonl.1").stat().st_size == offset
    journal.fact("data", "the first of the new one")
    lines, offset = journal.read(offset)
    assert [line["text"] for line in lines] == ["the first of the new one"]
    assert journal.read(offset) == ([], offset)


def test_a_log_that_a_process_writes_is_cut_under_it(limited: Path) -> None:
    log = limited / "logs" / "service.log"
    log.parent.mkdir()
    code = "import sys; print('x' * 1_100_000, flush=True); sys.stdin.readline(); print('on it goes', flush=True)"
    with (
        log.open("ab") as out,
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=out) as child,
    ):
        assert child.stdin is not None
        until(lambda: log.stat().st_size >= 1_100_001)  # with the line's end
        retention.prune()
        child.stdin.write(b"go\n")
        child.stdin.close()
    assert log.read_text() == "on it goes\n"
    assert log.with_name("service.log.1").stat().st_size > 1_000_000


def test_a_segment_that_cannot_be_read_keeps_no_other_back(operational: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder() / "aaa-1-1.jsonl").mkdir(parents=True)  # sorted first, and no file
    log = PredictionLog("service")
    log.start()
    record = make_record()
    log.record(record)
    log.close()
    shipper = Shipper()
    for _ in range(3):
        shipper.look()
    assert left() == {record.id}
    assert sum("aaa-1-1.jsonl cannot be read" in message for message in caplog.messages) == 2  # the log's own, and ours
    assert not any("the database is away" in message for message in caplog.messages)
