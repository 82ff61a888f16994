"""`/metrics` on the story page's port: a real supervisor's, and one with a database that has something to tell."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from prometheus_client.core import Metric

from flows.metrics.machine import Machine, rapl
from flows.metrics.processes import uses
from flows.process import ProcessStatus
from flows.stack.control import Stack
from flows.stack.home import home_app
from registry.core.settings import Settings
from serving.access import keys
from serving.releases.deploy import free_port
from tests.databases import own_database
from tests.exposition import FORBIDDEN_LABELS, Samples, scrape
from tests.flows.stack.servers import of, start_server
from tests.flows.story.test_story_home import served
from tests.serving.access.conftest import bearer
from tests.waiting import until

MODEL = "fruit_features"
ELSEWHERE = {"X-Forwarded-For": "192.0.2.7"}
SERVICE = "object_detection-7-0a1b2c3d"


def test_a_supervisor_tells_of_its_processes_and_of_one_that_died(stack: Stack) -> None:
    stack.up(("home",))
    address = stack.config.home_address
    start_server(stack, SERVICE)
    found = scrape(address)
    labels = {"process": SERVICE, "model": "object_detection", "version": "7"}
    assert found.of("visionloop_process_up", **labels) == 1
    assert found.of("visionloop_process_restarts_total", **labels) == 0
    assert found.of("visionloop_process_memory_bytes", **labels) > 10**6
    assert found.of("visionloop_process_cpu_seconds_total", **labels) > 0
    assert found.of("visionloop_process_up", process="home") == 1
    assert found.of("visionloop_disk_free_bytes") > 0
    assert not found.labels & FORBIDDEN_LABELS
    os.kill(of(stack, SERVICE).pid, signal.SIGKILL)
    until(lambda: scrape(address).of("visionloop_process_restarts_total", **labels) == 1)
    until(lambda: scrape(address).has("visionloop_process_state", **labels, state="ready"))
    stack.stop(SERVICE)
    assert not scrape(address).has("visionloop_process_up", **labels), "it is gone, not down"


@pytest.fixture
def page(config: Settings) -> Iterator[str]:
    """A story page whose stack has a router, and Prefect elsewhere."""
    port = free_port()
    statuses = [ProcessStatus("home", "ready", os.getpid()), ProcessStatus("prefect", "external")]
    with own_database(config.var / "visionloop.db"), served(home_app(config, lambda: statuses), port):
        yield f"http://127.0.0.1:{port}"


def test_the_database_s_figures(page: str, config: Settings) -> None:
    now = datetime.now(UTC)
    _predictions(now)
    folder = config.var / "decisions" / MODEL
    folder.mkdir(parents=True)
    (folder / "one.html").write_text("<p>refused</p>")
    (folder / "one.json").write_text(json.dumps({"granted": False, "challenger": 4}))
    (config.var / "spool").mkdir(exist_ok=True)
    (config.var / "spool" / "a.jsonl").write_text(json.dumps({"time": time.time() - 100}) + "\n")
    found = scrape(page)
    version = {"model": MODEL, "version": "3"}
    assert found.of("visionloop_database_up") == 1
    assert found.of("visionloop_database_bytes") >= (config.var / "visionloop.db").stat().st_size
    assert found.of("visionloop_feedback_score", **version) == pytest.approx(0.75)
    assert found.of("visionloop_feedback_labels", **version) == 3, "not the one of last month"
    assert found.of("visionloop_feedback_unscored", model=MODEL) == 1
    assert found.of("visionloop_labels_unlearned", model=MODEL) == 2
    assert found.of("visionloop_drift", **version) == 1
    assert found.of("visionloop_drift_score", **version, kind="data") == pytest.approx(1.5)
    assert found.of("visionloop_drift_action", **version, action="label") == 1
    assert found.of("visionloop_drift_action", **version, action="retrain") == 0
    assert found.of("visionloop_drift_verdict_time_seconds", **version) == pytest.approx(now.timestamp(), abs=1)
    assert found.of("visionloop_label_queue", model=MODEL) == 1, "two are responsible, one of them is labelled"
    assert found.of("visionloop_label_queue", model="object_detection") == 0
    assert found.of("visionloop_training_granted", model=MODEL) == 0
    assert found.of("visionloop_training_version", model=MODEL) == 4
    assert found.of("visionloop_training_decided_time_seconds", model=MODEL) == pytest.approx(time.time(), abs=60)
    assert found.of("visionloop_spool_oldest_seconds") == pytest.approx(100, abs=30)
    assert found.of("visionloop_spool_bytes") > 10
    assert found.of("visionloop_tasks", model=MODEL, state="queued") == 0
    assert found.of("visionloop_process_up", process="prefect") == 1
    assert not found.labels & FORBIDDEN_LABELS


def _predictions(now: datetime) -> None:
    """Five of version 3, four with a label, and a verdict that holds two of them responsible."""
    from monitoring.log.models import Feedback, Prediction, Verdict

    made = [
        Prediction.objects.create(
            id=uuid.uuid4().hex, time=now, model=MODEL, version=3, role="live", latency_ms=9, outcome="ok", status=200
        )
        for _ in range(5)
    ]
    days = (1, 2, 3, 30)
    for one, score, learned, problem, ago in zip(
        made, (1.0, 0.5, None, 0.0), (None, 3, None, None), ("", "", "of another kind", ""), days, strict=False
    ):
        time = now - timedelta(days=ago)
        Feedback.objects.create(prediction=one, time=time, score=score, learned_by=learned, problem=problem)
    tests = [{"kind": "data", "statistic": 0.6, "threshold": 0.4, "p": 0.001, "level": 0.01}]
    for drifted, ago in ((False, 2), (True, 0)):
        Verdict.objects.create(
            id=uuid.uuid4().hex, time=now - timedelta(hours=ago), model=MODEL, version=3, predictions=5, labels=4,
            drifted=drifted, action="label", why="too dark", responsible=[made[0].id, made[4].id],
            finding={"distributions": {"tests": tests}},
        )  # fmt: skip


def test_without_a_database_the_rest_is_told_and_it_comes_back(page: str, config: Settings) -> None:
    assert scrape(page).of("visionloop_database_up") == 1
    file = config.var / "visionloop.db"
    with sqlite3.connect(file) as connection:
        connection.execute("ALTER TABLE monitoring_verdict RENAME TO elsewhere")
    found = scrape(page)
    assert found.of("visionloop_database_up") == 0
    assert not found.has("visionloop_feedback_labels")
    assert found.of("visionloop_process_up", process="home") == 1
    with sqlite3.connect(file) as connection:
        connection.execute("ALTER TABLE elsewhere RENAME TO monitoring_verdict")
    assert scrape(page).of("visionloop_database_up") == 1


def test_other_machines_need_a_key_and_see_the_metrics_only(page: str) -> None:
    token = keys.create("prometheus", actions=["admin"])[1]
    usual = keys.create("usual")[1]
    statuses = {
        name: httpx.get(f"{page}/metrics", headers={**ELSEWHERE, **headers}).status_code
        for name, headers in {"none": {}, "admin": bearer(token), "usual": bearer(usual)}.items()
    }
    assert statuses == {"none": 403, "admin": 200, "usual": 403}
    assert httpx.get(f"{page}/story.json", headers={**ELSEWHERE, **bearer(token)}).status_code == 403


def test_energy_is_measured_where_counters_can_be_read(tmp_path: Path, config: Settings) -> None:
    """A folder as the kernel shows it: two packages, and a part of one that must not count twice."""
    for zone, name, joules in (("0", "package-0", 12_500_000), ("1", "package-1", 1_000_000), ("0:0", "core", 7)):
        folder = tmp_path / f"intel-rapl:{zone}"
        folder.mkdir()
        (folder / "name").write_text(f"{name}\n")
        (folder / "energy_uj").write_text(f"{joules}\n")
    assert rapl(tmp_path) == {"package-0": 12.5, "package-1": 1.0}
    assert rapl(tmp_path / "nothing") == {}
    config.var.mkdir(exist_ok=True)
    measured = {one.name: one for one in Machine(config, tmp_path).collect()}
    assert _value(measured["visionloop_energy_measured"]) == 1
    assert {one.labels["domain"]: one.value for one in measured["visionloop_energy_joules"].samples}[
        "package-0"
    ] == 12.5
    without = {one.name: one for one in Machine(config, tmp_path / "nothing").collect()}
    assert _value(without["visionloop_energy_measured"]) == 0
    assert not without["visionloop_energy_joules"].samples


def _value(metric: Metric) -> float:
    return float(metric.samples[0].value)


def test_what_ended_children_used_still_counts() -> None:
    """Processor time must not go down when a child ends: it is a counter."""
    import subprocess
    import sys

    child = "sum(range(3 * 10**7))"
    script = f"import subprocess, sys\nprint(1, flush=True)\nsubprocess.run([sys.executable, '-c', {child!r}])\n"
    script += "print(2, flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "1\n"
        before = uses({parent.pid})[parent.pid].cpu_s
        assert parent.stdout.readline() == "2\n"
        after = uses({parent.pid})[parent.pid]
        parent.communicate()
    assert after.cpu_s > before + 0.1
    assert after.memory_bytes > 10**6


def test_samples_of_one_name_are_added_up() -> None:
    found = Samples('# TYPE a gauge\na{x="1"} 1\na{x="2"} 2\n')
    assert (found.of("a"), found.of("a", x="2")) == (3, 2)
    with pytest.raises(KeyError):
        found.of("a", x="3")
