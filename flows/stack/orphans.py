"""Finds and ends processes of a stack that nobody watches any more: never by name, never by pid alone."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path

import psutil

MARKER = "_VISIONLOOP_STACK"
"""In the environment of every process of a stack, and of all it starts. Its value is the stack's `var`."""
NAME = "_VISIONLOOP_PROCESS"
"""In the same environment: the name of the stack's process."""


def record(folder: Path, name: str, pid: int, **more: object) -> None:
    """Writes `var/run/<name>.json` with pid and start time, since the system reuses pids."""
    from registry.core.files import write_file

    try:
        created = psutil.Process(pid).create_time()
    except psutil.Error:
        return
    write_file(folder / f"{name}.json", json.dumps({"name": name, "pid": pid, "created": created, **more}))


def recorded(file: Path) -> psutil.Process | None:
    """The process in the file, if that very process still runs."""
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
        process = psutil.Process(int(facts["pid"]))
        # psutil derives the start time from boot time and clock ticks: equal to within a tick.
        if abs(process.create_time() - float(facts["created"])) < 0.05 and process.status() != psutil.STATUS_ZOMBIE:
            return process
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        pass
    return None


def find(var: Path, name: str = "") -> list[psutil.Process]:
    """Live processes of the stack at `var`, or of its process `name`. Leaves out this process and its parents."""
    spared = {os.getpid()}
    with suppress(psutil.Error):
        spared |= {parent.pid for parent in psutil.Process().parents()}
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            environment = process.environ()  # the system refuses that of other users' processes
            if environment.get(MARKER) == str(var) and (not name or environment.get(NAME) == name):
                found[process.pid] = process
    if not name:
        for file in (var / "run").glob("*.json"):
            process = recorded(file)
            if process is not None:
                found[process.pid] = process
    return [process for pid, process in found.items() if pid not in spared and alive(process)]


def end(processes: list[psutil.Process], grace_s: float = 3.0) -> int:
    """SIGTERM, then SIGKILL after `grace_s`. Returns how many there were. psutil checks the start time again."""
    for process in processes:
        with suppress(psutil.Error):
            process.terminate()
    for process in wait(processes, grace_s):
        with suppress(psutil.Error):
            process.kill()
    wait(processes, 3.0)
    return len(processes)


def wait(processes: list[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Waits until they are gone. Returns those that are not. A zombie counts as gone: in a container, the first process
    may take seconds to reap it, or never do it."""
    limit = time.monotonic() + timeout_s
    left = [process for process in processes if alive(process)]
    while left and time.monotonic() < limit:
        time.sleep(0.02)
        left = [process for process in left if alive(process)]
    return left


def alive(process: psutil.Process) -> bool:
    """Whether that very process still runs."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
