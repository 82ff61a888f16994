"""How fast parts are, as assertions: `make bench` runs them, on a quiet machine. `make test` looks at no clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pytest

from monitoring.drift import statistics
from monitoring.drift.findings import Table
from monitoring.log.writer import PredictionLog
from monitoring.report import evidently_report
from registry.boxes import mean_ap
from registry.contract import catalog
from tests.bundles import MODEL
from tests.monitoring.conftest import home as home
from tests.monitoring.conftest import make_record
from tests.monitoring.conftest import operational as operational
from tests.registry.boxes.test_mean_ap import scene

pytestmark = pytest.mark.bench


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def test_recording_a_prediction_costs_less_than_a_millisecond(operational: object) -> None:
    log = PredictionLog("service")
    log.start()
    records = [make_record() for _ in range(2000)]
    each = seconds(lambda: [log.record(record) for record in records]) / len(records)
    log.close(30)
    assert each < 1e-3, f"{each * 1e6:.0f} microseconds"


def test_a_bootstrap_sample_of_eighty_classes_costs_less_than_50_milliseconds() -> None:
    rng = np.random.default_rng(6)
    pairs = [scene(rng, tuple(map(str, range(80))), spurious=60) for _ in range(150)]
    results, truths = [found for found, _ in pairs], [true for _, true in pairs]
    mean_ap.score(results, truths)
    began = time.process_time()
    for _ in range(50):
        rows = rng.integers(0, 150, 150)
        mean_ap.score([results[r] for r in rows], [truths[r] for r in rows], None)
    assert (time.process_time() - began) / 50 < 0.05


@pytest.mark.parametrize("by", ["bare", "evidently"])
def test_judging_100k_rows_of_20_statistics_costs_at_most_three_times_the_bare_statistics(
    home: object, by: str
) -> None:
    rng = np.random.default_rng(10)

    def large() -> Table:
        columns = {f"image.{i}": rng.normal(size=100_000) for i in range(20)}
        return Table(tuple(map(str, range(100_000))), columns, np.zeros((100_000, 0), np.float32))

    reference, window = large(), large()

    def bare() -> None:
        for one in (reference, window):
            for values in one.columns.values():
                values.mean(), values.std(), values.min(), values.max()
                np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95))

    def judge() -> None:
        if by == "bare":
            statistics.compare_distributions(reference, window, 0.05)
        else:
            evidently_report.run_report(catalog.get(MODEL), reference, window, np.zeros(0), 0.05, datetime.now(UTC))

    judge()  # imports
    ratios = []
    for _ in range(5):
        least = seconds(bare)
        ratios.append(seconds(judge) / least)
    assert sorted(ratios)[2] <= 3, ratios
