"""The spool has a limit: beyond it the oldest predictions leave, counted, and the newest arrive."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from monitoring.log import spool
from monitoring.log.shipping import KEEPER, Shipper
from monitoring.log.writer import PredictionLog
from registry.core.settings import settings
from tests.monitoring.conftest import make_record

MIB = 2**20


@pytest.fixture
def unshipped(operational: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A spool of 1 MiB, a keeper that is away, and a log that hands over at once."""
    monkeypatch.setenv("VISIONLOOP_SPOOL_MB", "1")
    monkeypatch.setenv(KEEPER, "away")
    monkeypatch.setattr("monitoring.log.writer.EVERY_S", 0.01)
    settings.cache_clear()


def fill(log: PredictionLog, size: int) -> list[str]:
    """The ids of so many bytes of records, written no faster than the log hands over."""
    ids, written = [], 0
    while written < size:
        record = make_record(model="m", version=len(ids) % 2 + 1)
        log.record(record)
        ids.append(record.id)
        written += len(record.to_line())
        if len(ids) % 32 == 0:
            time.sleep(0.03)
    return ids


def used() -> int:
    return sum(path.stat().st_size for path in spool.folder().glob("*.jsonl"))


def stored() -> set[str]:
    from monitoring.log.models import Prediction

    return set(Prediction.objects.values_list("id", flat=True))


def test_a_spool_that_nobody_ships_keeps_its_limit_and_counts_what_left(
    unshipped: None, caplog: pytest.LogCaptureFixture
) -> None:
    log = PredictionLog("service")
    log.start()
    ids = fill(log, 3 * MIB)
    assert used() < 1.3 * MIB  # the limit, and the segment that is being written
    log.close()
    gone = spool.dropped()
    assert gone.predictions > 0.5 * len(ids)
    assert abs(gone.of("m", 1) - gone.of("m", 2)) <= gone.predictions / spool.SEGMENTS
    assert abs(gone.last - time.time()) < 60
    Shipper().look()
    assert len(stored()) + gone.predictions == len(ids)
    assert stored() == set(ids[gone.predictions :])  # the newest
    assert sum("the oldest predictions are dropped" in message for message in caplog.messages) == 1


def test_segments_that_a_process_holds_stay_and_a_second_count_goes_on(unshipped: None) -> None:
    first, second = PredictionLog("first"), PredictionLog("second")
    kept = [record.id for record in (make_record() for _ in range(800))]
    for one in kept:
        first.record(make_record(id=one))  # holds its segment, hands nothing over before its start
    assert used() > MIB
    second.start()
    ids = fill(second, MIB)
    second.close()
    before = spool.dropped().predictions
    assert before > 0
    third = PredictionLog("third")
    third.start()
    ids += fill(third, MIB // 2)
    third.close()
    assert spool.dropped().predictions > before
    first.close()
    Shipper().look()
    assert set(kept) <= stored()
    assert len(stored()) + spool.dropped().predictions == len(kept) + len(ids)


def test_a_spool_within_its_limit_loses_nothing(unshipped: None) -> None:
    log = PredictionLog("service")
    log.start()
    ids = fill(log, MIB // 2)
    log.close()
    Shipper().look()
    assert stored() == set(ids)
    assert spool.dropped() == spool.Dropped({})
