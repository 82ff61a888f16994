"""Trainings as runs of a real Prefect: cancelled, they end; two of them take turns in the one slot."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from flows.stack.control import Stack
from flows.steps import data_versions
from registry.core import journal
from tests.flows.steps.test_two_models import project
from tests.waiting import gone, until

__all__ = ["project"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

TRAINS = """
import os, pathlib, subprocess, sys, time
helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path("pids.tmp").write_text(f"{os.getpid()} {helper.pid}")
os.rename("pids.tmp", "pids-MODEL")
while not pathlib.Path("enough-MODEL").exists():
    time.sleep(0.05)
helper.kill()
pathlib.Path("build/MODEL/train").mkdir(parents=True, exist_ok=True)
"""


class Runs:
    """Runs of the flow, asked for over Prefect's own API, as its page does."""

    def __init__(self, api: str, root: Path) -> None:
        self.root = root
        self._http = httpx.Client(base_url=api, timeout=30, trust_env=False)

    def start(self, model: str) -> str:
        """The id of a new run that trains `model`."""
        (self.root / f"{model}.py").write_text(TRAINS.replace("MODEL", model))
        data_versions.add(model)
        found = self._http.get("/deployments/name/train/train").raise_for_status().json()
        body = {"parameters": {"model": model}}
        return str(self._http.post(f"/deployments/{found['id']}/create_flow_run", json=body).json()["id"])

    def cancel(self, run: str) -> None:
        state = {"state": {"type": "CANCELLING"}, "force": False}
        self._http.post(f"/flow_runs/{run}/set_state", json=state).raise_for_status()

    def state(self, run: str) -> str:
        return str(self._http.get(f"/flow_runs/{run}").json()["state"]["type"])

    def pids(self, model: str) -> list[int]:
        """Of the training, once it runs; [] before."""
        with suppress(FileNotFoundError):
            return [int(pid) for pid in (self.root / f"pids-{model}").read_text().split()]
        return []

    def end(self, model: str) -> None:
        """The training finishes."""
        (self.root / f"enough-{model}").touch()

    def ready(self) -> bool:
        with suppress(httpx.HTTPError):
            return self._http.get("/deployments/name/train/train").is_success
        return False


@pytest.fixture
def runs(stack: Stack, project: Path) -> Runs:
    """A real Prefect, and a worker as the stack's own one."""
    stack.up(("prefect",))
    found = Runs(stack.config.prefect_address, project)
    health = f"{stack.config.prefect_address}/health"
    until(lambda: httpx.get(health, timeout=5, trust_env=False).is_success, errors=(httpx.HTTPError,))
    stack.start("flows", [sys.executable, "-m", "tests.flows.training_flow"], grace_s=8)
    until(found.ready)
    return found


def test_of_two_trainings_one_waits_for_the_slot_and_a_cancelled_one_ends_and_gives_it_back(runs: Runs) -> None:
    first = runs.start("one")
    ours = until(lambda: runs.pids("one"))
    second = runs.start("two")
    until(lambda: "another training is running; two waits for it" in told())
    time.sleep(3)
    assert runs.state(second) == "RUNNING"
    assert runs.pids("two") == [], "it runs beside the first"
    assert not gone(*ours)

    runs.cancel(first)
    until(lambda: gone(*ours), 30)
    until(lambda: runs.state(first) == "CANCELLED")
    theirs = until(lambda: runs.pids("two"))
    third = runs.start("one")
    (runs.root / "pids-one").unlink()
    until(lambda: "another training is running; one waits for it" in told())
    assert runs.pids("one") == []

    runs.end("two")
    until(lambda: runs.state(second) == "COMPLETED")
    assert gone(*theirs)
    until(lambda: runs.pids("one"))
    runs.end("one")
    until(lambda: runs.state(third) == "COMPLETED")


def told() -> list[str]:
    return [str(line.get("text")) for line in journal.read()[0]]
