"""Accidents of the stack: too busy to answer, interrupted, without its folder, without room on the disk."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from flows.stack import control
from flows.stack.control import Stack
from registry.core.errors import MissingService, StorageError
from registry.core.settings import Settings, read_settings
from tests.disks import fill, small_disk
from tests.flows.stack.servers import HOME, of, start_server
from tests.waiting import gone, until


def test_a_supervisor_that_is_too_busy_to_answer_is_not_taken_for_a_dead_one(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.up(HOME)
    child, _ = start_server(stack)
    supervisor = psutil.Process(of(stack, "home").pid)
    monkeypatch.setattr(control, "ANSWER_WITHIN_S", 1.0)
    supervisor.suspend()
    with pytest.raises(MissingService, match="does not answer within 1 s"):
        stack.up(HOME)
    supervisor.resume()
    until(lambda: of(stack, "small").pid == child.pid, errors=(MissingService,))
    supervisor.suspend()
    stack.down()
    assert gone(supervisor.pid, child.pid)


def test_up_waits_for_the_end_of_a_stack_whose_down_was_interrupted(stack: Stack, tmp_path: Path) -> None:
    stack.up(HOME)
    before, ending, finished = of(stack, "home").pid, tmp_path / "ending", tmp_path / "finished"
    script = (
        "import pathlib, signal, sys, time\n"
        "def finish(*_):\n"
        f"    pathlib.Path({str(ending)!r}).touch()\n"
        "    time.sleep(5)\n"
        f"    pathlib.Path({str(finished)!r}).touch()\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, finish)\n"
        "time.sleep(600)\n"
    )
    stack.start("busy", [sys.executable, "-c", script])
    down = subprocess.Popen([sys.executable, "-c", "from flows.stack.control import Stack; Stack().down()"])
    until(ending.exists)
    down.kill()
    down.wait()
    assert stack.up(HOME), "it is not up any more"
    assert finished.exists(), "it was killed at work"
    assert of(stack, "home").pid != before


def test_down_ends_a_stack_whose_folder_was_deleted(stack: Stack) -> None:
    stack.up(HOME)
    child, _ = start_server(stack)
    shutil.rmtree(stack.config.var)
    assert stack.down() > 0
    assert gone(child.pid)


def test_a_process_that_dies_on_a_full_disk_is_started_again_and_up_says_that_it_is_full(
    tmp_path: Path, config: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "disk", 30 * 2**20) as disk:
        monkeypatch.setenv("VISIONLOOP_VAR", str(disk / "var"))
        stack = Stack(read_settings())
        try:
            assert stack.up(HOME)
            before, _ = start_server(stack)
            fill(disk)
            os.kill(before.pid, signal.SIGKILL)
            until(lambda: of(stack, "small").restarts == 1 and of(stack, "small").ready, 30)
        finally:
            stack.down()
        with pytest.raises(StorageError, match="0 MB are free"):
            stack.up(HOME)
