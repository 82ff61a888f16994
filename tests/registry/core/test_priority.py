"""Low priority, tried in processes of their own: not every user may take it back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from registry.core.priority import NICE
from tests.conftest import PROJECT

GROUP = Path("/proc/self/autogroup")
LOOK = """
import os, threading, time
def look():
    while len(os.listdir("/proc/self/task")) > threading.active_count():
        time.sleep(0.01)  # a thread that was joined may still be leaving
    said = open("/proc/self/autogroup").read() if os.path.exists("/proc/self/autogroup") else ""
    group = (said.split() or ["0"])[-1]  # empty where the session is in no group, as in some containers
    values = {os.getpriority(os.PRIO_PROCESS, int(task)) for task in os.listdir("/proc/self/task")}
    print(*sorted(values), group, flush=True)
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
"""
RESTORED = f"""
from registry.core.priority import LowPriority
priority = LowPriority()
{LOOK}
look(); priority.restore(); priority.restore(); look()
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="only Linux has nice values by thread")


def _nice_values(code: str, own_session: bool) -> list[list[int]]:
    """Nice values of the threads, then that of the session, each time it looked."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=PROJECT, start_new_session=own_session, capture_output=True, text=True, check=True
    )
    return [[int(word) for word in line.split()] for line in done.stdout.splitlines()]


@pytest.mark.skipif(os.getuid() != 0, reason="only some may raise a priority again")
def test_every_thread_and_the_session_are_lowered_and_restored() -> None:
    during, after = _nice_values(RESTORED, own_session=True)
    assert during == [NICE, NICE if GROUP.exists() else 0]
    assert after == [0, 0]


@pytest.mark.skipif(os.getuid() != 0, reason="needs another user to be")
def test_without_the_right_to_restore_only_the_session_is_lowered() -> None:
    """A service must never stay at low priority for good because it was started by an ordinary user."""
    nobody = "import ctypes, os, registry.core.priority\nos.setuid(65534)\n"
    own = "ctypes.CDLL(None).prctl(4, 1)\n"  # PR_SET_DUMPABLE: else /proc/self stays root's
    during, after = _nice_values(nobody + own + RESTORED, own_session=True)
    assert during == [0, NICE if GROUP.exists() else 0]
    assert after == [0, 0]


def test_the_session_of_a_terminal_is_left_alone() -> None:
    (values,) = _nice_values(
        f"from registry.core.priority import lower_priority\nlower_priority()\n{LOOK}\nlook()", own_session=False
    )
    assert values == [NICE, 0]


def test_training_is_lowered_for_good() -> None:
    (values,) = _nice_values(
        f"from registry.core.priority import lower_priority\nlower_priority()\n{LOOK}\nlook()", own_session=True
    )
    assert values == [NICE, NICE if GROUP.exists() else 0]
