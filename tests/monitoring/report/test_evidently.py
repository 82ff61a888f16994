"""Evidently decides: its tests of our metrics are the verdict, its workspace shows each model's verdicts over time."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import pytest

from monitoring.drift import statistics
from monitoring.report import evidently_report, watch
from registry.contract import catalog
from registry.core.settings import settings
from registry.versions.bundle import Bundle
from tests.bundles import MODEL
from tests.monitoring.drift.test_statistics import join, table
from tests.monitoring.scans import Send, scans
from tests.waiting import until

WHEN = datetime(2026, 11, 1, tzinfo=UTC)
KINDS = ("data", "prediction", "embedding")


def with_scores(one: statistics.Table, rng: np.random.Generator, mean: float) -> statistics.Table:
    return replace(one, score=rng.normal(mean, 0.02, len(one)))


@pytest.mark.parametrize(
    ("moved", "score", "alarms"),
    [
        ({}, 0.9, set()),
        ({"shift": 3.0}, 0.9, {"data"}),
        ({"answers": 2.0}, 0.9, {"prediction"}),
        ({"features": 2.0}, 0.6, {"embedding", "performance"}),
        ({}, 0.6, {"performance"}),
    ],
)
def test_evidently_s_tests_say_what_ours_say(
    home: Path, moved: dict[str, float], score: float, alarms: set[str]
) -> None:
    rng = np.random.default_rng(21)
    reference = with_scores(table(rng, 48), rng, 0.9)
    window = table(rng, 40, **moved)  # type: ignore[arg-type]
    scores = rng.normal(score, 0.02, 12)
    judged = evidently_report.run_report(catalog.get(MODEL), reference, window, scores, 0.05, WHEN, verdict="abc")
    assert {kind for kind, failed in judged.kinds.items() if failed} == alarms
    bare = statistics.compare_distributions(reference, window, 0.05)
    assert [(t.kind, t.statistic, t.threshold, t.drifted) for t in judged.finding.tests] == [
        (t.kind, t.statistic, t.threshold, t.drifted) for t in bare.tests
    ]
    assert judged.performance is not None
    assert judged.performance.drifted == ("performance" in alarms)


def test_a_window_that_one_origin_excuses_is_quiet_for_evidently_too(home: Path) -> None:
    rng = np.random.default_rng(22)
    reference = join(table(rng, 48), table(rng, 24, shift=4, origin="stream"))
    none = np.zeros(0)
    judged = evidently_report.run_report(catalog.get(MODEL), reference, table(rng, 40, shift=4), none, 0.05, WHEN)
    assert judged.finding.compared_with == "stream"
    assert judged.kinds == dict.fromkeys(KINDS, False)


def test_nothing_of_it_comes_from_legacy_or_private_parts() -> None:
    for name in ("evidently_report.py", "evidently_metrics.py", "watch.py"):
        text = (Path(evidently_report.__file__).parent / name).read_text()
        assert "evidently.legacy" not in text
        assert "._registered" not in text


def test_what_gives_no_verdict_does_not_import_it() -> None:
    """The guard, services, and the command line's front door."""
    modules = "monitoring.report.watch, monitoring.drift.due, serving.guard.guardrails, flows.cli, sys"
    code = f"import {modules}; print('evidently' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_a_quiet_verdict_takes_little_room_and_one_with_drift_has_the_whole_report(send: Send, bundle: Bundle) -> None:
    send(scans(24))
    quiet = watch.make_verdict(MODEL, 1, bundle)
    assert not (quiet.folder / "report.html").exists()
    assert sum(path.stat().st_size for path in quiet.folder.iterdir()) < 1_000_000
    send(scans(24, noise=0.25))
    loud = watch.make_verdict(MODEL, 1, bundle, last=24)
    assert (loud.folder / "report.html").stat().st_size > 1_000_000
    runs = list(evidently_report.workspace().glob("*/snapshots/*.json"))
    assert len(runs) == 2
    assert min(path.stat().st_size for path in runs) < 100_000


@pytest.fixture
def ui(home: Path) -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_its_user_interface_shows_verdicts_over_time(send: Send, bundle: Bundle, ui: str) -> None:
    send(scans(24))
    watch.make_verdict(MODEL, 1, bundle)
    send(scans(24, noise=0.25))
    watch.make_verdict(MODEL, 1, bundle, last=24)
    argv = [sys.executable, "-m", "evidently.cli", "ui", "--workspace", str(evidently_report.workspace())]
    argv += ["--host", "127.0.0.1", "--port", ui.rpartition(":")[2]]
    server = subprocess.Popen(argv, env={**os.environ, **settings().child_environment()})
    try:
        with httpx.Client(base_url=ui, timeout=20, trust_env=False) as client:
            (project,) = until(lambda: client.get("/api/projects").json(), 90, errors=(httpx.HTTPError,))
            assert project["name"] == MODEL
            panels = {p["title"]: p for p in client.get(f"/api/v2/dashboards/{project['id']}").json()["panels"]}
            assert set(panels) == {"Nearness to an alarm", "Score of labelled predictions"}
            wanted = [
                {key: value[key] for key in ("tags", "metadata", "metric", "metric_labels")}
                for value in panels["Nearness to an alarm"]["values"]
            ]
            path = f"/api/v2/snapshots/{project['id']}/data_series_batch"
            series = client.post(path, json={"series_filter": wanted}).json()["series"]
    finally:
        server.terminate()
        server.wait()
    margins = {one["params"]["label"]: one["values"] for one in series}
    assert set(margins) == set(KINDS)  # no labels came, so the score was not tested
    quiet, loud = margins["data"]
    assert quiet <= 1 < loud
