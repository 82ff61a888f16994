"""Services that are stopped or killed in the middle of a task: another one does it."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from monitoring.log.shipping import KEEPER
from registry.contract import catalog
from serving.releases import deploy, packaging
from serving.service.http_server import DRAIN_DELAY_S
from serving.tasks.runner import POLL_S
from tests.clips import make_clip
from tests.databases import own_database
from tests.detector_bundle import make_detector_bundle
from tests.serving.conftest import Numbered, Processes, Running
from tests.serving.tasks.asking import FRAMES, MODEL, PICTURE, is_over, once
from tests.waiting import until


@pytest.fixture(scope="module")
def tag(project: Path) -> str:
    return packaging.package(Numbered(MODEL, 5), make_detector_bundle(project / "mortal", catalog.get(MODEL), work=12))


@pytest.fixture
def var(tmp_path: Path) -> Path:
    """A folder with a database of its own: other services of the model would rightly take its tasks over."""
    with own_database(tmp_path / "var" / "visionloop.db"):
        pass
    return tmp_path / "var"


def _start(processes: Processes, name: str, tag: str, var: Path, **changed: str) -> Running:
    port = deploy.free_port()
    env = {**packaging.serve_environment(), "VISIONLOOP_VAR": str(var), **changed}
    return processes.start(name, packaging.serve_command(tag, port), env, f"http://127.0.0.1:{port}/readyz")


def _rows(var: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(var / "visionloop.db")) as database:
        return database.execute(query).fetchall()


def test_a_service_that_is_stopped_leaves_its_task_to_another(tag: str, processes: Processes, var: Path) -> None:
    service = _start(processes, "stopped", tag, var)
    with httpx.Client(base_url=service.url, timeout=60) as client:
        identity = client.post("/tasks", content=make_clip(2 * FRAMES, (96, 64))).json()["id"]
        once(client, identity, lambda task: task["done"] > 0)
    service.process.terminate()
    # At once, not when it ends.
    until(lambda: _rows(var, "SELECT state FROM tasks_task") == [("queued",)], DRAIN_DELAY_S)
    service.process.wait(30)
    assert _rows(var, "SELECT state, attempts FROM tasks_task") == [("queued", 0)]
    assert _rows(var, "SELECT outcome, status FROM monitoring_prediction") == [("TaskLost", 499)]


def test_a_task_survives_its_service_and_loads_the_database_only_where_there_is_one(
    tag: str, processes: Processes, var: Path
) -> None:
    """Beside a keeper nothing else needs the database."""

    def has_database(service: Running) -> bool:
        return "_sqlite3" in Path(f"/proc/{service.pid}/maps").read_text()

    first = _start(processes, "frugal-1", tag, var, **{KEEPER: "there"})
    with httpx.Client(base_url=first.url, timeout=60) as client:
        assert client.post("/predict", content=PICTURE).status_code == 200
        time.sleep(2 * POLL_S)
        assert not has_database(first)
        identity = client.post("/tasks", content=make_clip(FRAMES, (96, 64))).json()["id"]
        once(client, identity, lambda task: task["done"] > 0)
        assert has_database(first)
    first.process.kill()
    first.process.wait(30)
    assert _rows(var, "SELECT state, attempts FROM tasks_task") == [("running", 1)]
    second = _start(processes, "frugal-2", tag, var, **{KEEPER: "there"})  # which sees that something was left
    with httpx.Client(base_url=second.url, timeout=60) as client:
        task = once(client, identity, is_over, within_s=180)
        assert (task["state"], task["attempts"]) == ("done", 2)
        assert client.get(f"/tasks/{identity}/result").json()["frames"] == FRAMES
    processes.stop("frugal-2")
    third = _start(processes, "frugal-3", tag, var, **{KEEPER: "there"})
    time.sleep(2 * POLL_S)
    assert not has_database(third), "what is done is no task to work on"
    processes.stop("frugal-3")
