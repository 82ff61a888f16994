"""The whole stack with its real parts: MLflow, Prefect, router, worker, and the service of a live release."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import httpx
import pytest

from flows.stack.control import Stack
from tests.bundles import MODEL, make_scan, make_tiny_bundle
from tests.databases import own_database
from tests.serving.controlled import Numbered
from tests.waiting import gone, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def up(stack: Stack) -> Iterator[Stack]:
    stack.up()
    stack.wait()
    return stack


def test_mlflow_and_prefect_work_are_fixed_and_leave_nothing(up: Stack) -> None:
    import mlflow
    from mlflow.tracking import MlflowClient

    states = {status.name: status for status in up.status()}
    assert {states[name].state for name in ("mlflow", "prefect", "router", "flows")} == {"ready"}
    assert [states[name].processes for name in ("mlflow", "prefect")] == [1, 1], "no helper processes"
    assert sum(status.memory_mb for status in states.values()) < 1500

    client = MlflowClient(up.config.mlflow_address)
    run = client.create_run(client.create_experiment("stack"))
    client.log_text(run.info.run_id, "hello", "folder/note.txt")
    assert run.info.artifact_uri.startswith("mlflow-artifacts:/"), "clients must not need the server's disk"
    assert list((up.config.var / "mlflow" / "artifacts").rglob("note.txt"))

    os.kill(states["mlflow"].pid, signal.SIGKILL)
    until(
        lambda: next(s for s in up.status() if s.name == "mlflow").ready and _ok(f"{up.config.mlflow_address}/health")
    )
    mlflow.set_tracking_uri(up.config.mlflow_address)
    assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/folder/note.txt") == "hello"

    _many_writers(up.config.prefect_address)
    _monitor_is_scheduled(up)
    log = (up.config.var / "logs" / "prefect.log").read_text()
    assert "database is locked" not in log
    assert "Traceback" not in log

    children = [status.pid for status in up.status() if status.pid]
    up.down()
    assert gone(*children)


def _ok(address: str) -> bool:
    try:
        return httpx.get(address, timeout=5).is_success
    except httpx.HTTPError:
        return False


def _many_writers(address: str) -> None:
    """Concurrent flows all get their writes through.

    Where SQLite cannot take a write at once, Prefect's server answers 503 and its client asks again, five times.
    """

    def post(path: str, body: dict[str, Any]) -> httpx.Response:
        for attempt in range(6):
            answer = httpx.post(f"{address}{path}", json=body, timeout=90)
            if answer.status_code != 503:
                break
            time.sleep(0.5 * 2**attempt)
        return answer

    def write(number: int) -> int:
        flow = post("/flows/", {"name": f"flow-{number % 4}"}).json()
        state = {"type": "RUNNING", "name": "Running"}
        return post("/flow_runs/", {"flow_id": flow["id"], "name": f"run-{number}", "state": state}).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(write, range(80))) == {201}


def _monitor_is_scheduled(up: Stack) -> None:
    """Prefect's scheduler works with the SQLAlchemy that is installed, and the worker deployed the flows."""

    def runs() -> int:
        with closing(sqlite3.connect(up.config.var / "prefect" / "prefect.db")) as connection:
            return int(connection.execute("select count(*) from flow_run where auto_scheduled").fetchone()[0])

    until(runs, 150)


def test_up_brings_the_service_of_a_live_release_back(stack: Stack, tmp_path: Any) -> None:
    from serving.releases import deploy, packaging

    stack.config.apply_environment()
    with own_database(stack.config.var / "visionloop.db"):
        stack.up(["router", "guard"])
        version = Numbered(MODEL, 1)
        tag = packaging.package(version, make_tiny_bundle(tmp_path / "bundle"))
        deploy.follow(deploy.roll_out(version, tag, anyway="a test"))
    address = f"{stack.config.router_address}/v1/models/{MODEL}/predict"
    files = {"file": ("scan.nii.gz", make_scan(1))}
    before = httpx.post(address, files=files, timeout=60)
    assert before.status_code == 200, before.text

    (service,) = [status for status in stack.status() if status.name == packaging.process_name(tag)]
    os.kill(service.pid, signal.SIGKILL)
    until(lambda: httpx.post(address, files=files, timeout=60).status_code == 200)

    stack.down()
    assert not _ok(f"{service.url}/readyz")
    stack.up(["router", "releases", "guard"])
    stack.wait()
    after = until(lambda: (answer := httpx.post(address, files=files, timeout=60)).status_code == 200 and answer)
    assert after.headers["X-Model-Version"] == before.headers["X-Model-Version"] == "1"
    (again,) = [status for status in stack.status() if status.name == packaging.process_name(tag)]
    assert again.url == service.url, "who knows the address keeps it"
