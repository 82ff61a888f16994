"""Whatever ends a run ends its training: no orphan goes on writing the checkpoint of the next one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.steps import data_versions
from registry.core import journal
from tests.flows.steps.test_two_models import project
from tests.waiting import gone, until

__all__ = ["project"]

TRAINS = """
import os, pathlib, subprocess, sys, time
helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path("pids.tmp").write_text(f"{os.getpid()} {helper.pid}")
os.rename("pids.tmp", "pids")
try:
    time.sleep(600)
except KeyboardInterrupt:
    pathlib.Path("in_order").touch()
"""
RUNS = """
import signal, sys
# As from a terminal, or (with an argument) as a script starts what it puts in the background.
signal.signal(signal.SIGINT, signal.SIG_IGN if sys.argv[1:] else signal.default_int_handler)
from flows.steps import dvc_stages as stages
from flows import steps
with steps.exclusive("one"):
    stages.build("one", lambda line: None)
"""


@pytest.fixture
def training(project: Path, request: pytest.FixtureRequest) -> Iterator[tuple[subprocess.Popen[bytes], list[int]]]:
    """A process that runs the stages, as a command or a flow does, and the processes of the training.

    With the parameter "behind", the process was put in the background by a script.
    """
    more = [request.param] if hasattr(request, "param") else []
    (project / "one.py").write_text(TRAINS)
    data_versions.add("one")
    with subprocess.Popen([sys.executable, "-c", RUNS, *more], cwd=project, stderr=subprocess.DEVNULL) as running:
        until((project / "pids").exists)
        pids = [int(pid) for pid in (project / "pids").read_text().split()]
        try:
            yield running, pids
        finally:
            running.kill()
            for pid in pids:
                if not gone(pid):
                    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_ended_ends_its_training(
    training: tuple[subprocess.Popen[bytes], list[int]], number: signal.Signals
) -> None:
    running, pids = training
    running.send_signal(number)
    assert running.wait(30) != 0
    until(lambda: gone(*pids), 10)


@pytest.mark.parametrize("training", ["behind"], indirect=True)
def test_a_training_in_the_background_ends_in_order(
    training: tuple[subprocess.Popen[bytes], list[int]], project: Path
) -> None:
    running, pids = training
    running.send_signal(signal.SIGTERM)
    assert running.wait(30) != 0
    until(lambda: gone(*pids), 10)
    assert (project / "in_order").exists()


def test_after_a_kill_the_next_run_waits_for_the_training_that_goes_on(
    training: tuple[subprocess.Popen[bytes], list[int]], project: Path
) -> None:
    running, pids = training
    running.kill()
    running.wait(10)
    assert not gone(*pids)
    code = "from flows import steps\nwith steps.exclusive('one'): print('mine', flush=True)"
    with subprocess.Popen([sys.executable, "-c", code], cwd=project, stdout=subprocess.PIPE, text=True) as second:
        try:
            until(lambda: any("waits for it" in str(line.get("text")) for line in journal.read()[0]))
            assert second.poll() is None
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            assert second.communicate(timeout=60)[0] == "mine\n"
        finally:
            second.kill()
