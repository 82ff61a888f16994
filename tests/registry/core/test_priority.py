"""Who goes first on a busy machine; in processes of their own, as it cannot be taken back everywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from registry.core.priority import BEHIND
from tests.conftest import PROJECT

GROUP = Path("/proc/self/autogroup")
LOOK = """
import os, threading, time
def look():
    said = open("/proc/self/autogroup").read() if os.path.exists("/proc/self/autogroup") else ""
    group = (said.split() or ["0"])[-1]  # empty where the session is in no group, as in some containers
    values = {os.getpriority(os.PRIO_PROCESS, int(task)) for task in os.listdir("/proc/self/task")}
    print(*sorted(values), group, flush=True)
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
"""
BACK = f"""
from registry.core.priority import Behind
behind = Behind()
{LOOK}
look(); behind.catch_up(); behind.catch_up(); look()
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="only Linux has nice values by thread")


def _said(code: str, own_session: bool) -> list[list[int]]:
    """Nice values of the threads, then that of the session, each time it looked."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=PROJECT, start_new_session=own_session, capture_output=True, text=True, check=True
    )
    return [[int(word) for word in line.split()] for line in done.stdout.splitlines()]


@pytest.mark.skipif(os.getuid() != 0, reason="only some may raise a priority again")
def test_every_thread_and_the_session_go_behind_and_come_back() -> None:
    during, after = _said(BACK, own_session=True)
    assert during == [BEHIND, BEHIND if GROUP.exists() else 0]
    assert after == [0, 0]


@pytest.mark.skipif(os.getuid() != 0, reason="needs another user to be")
def test_who_may_not_come_back_only_moves_the_session() -> None:
    """A service must never stay behind for good because it was started by an ordinary user."""
    nobody = "import ctypes, os, registry.core.priority\nos.setuid(65534)\n"
    own = "ctypes.CDLL(None).prctl(4, 1)\n"  # PR_SET_DUMPABLE: else /proc/self stays root's
    during, after = _said(nobody + own + BACK, own_session=True)
    assert during == [0, BEHIND if GROUP.exists() else 0]
    assert after == [0, 0]


def test_the_session_of_a_terminal_is_left_alone() -> None:
    (said,) = _said(f"from registry.core.priority import give_way\ngive_way()\n{LOOK}\nlook()", own_session=False)
    assert said == [BEHIND, 0]


def test_what_trains_starts_behind_for_good() -> None:
    (said,) = _said(f"from registry.core.priority import give_way\ngive_way()\n{LOOK}\nlook()", own_session=True)
    assert said == [BEHIND, BEHIND if GROUP.exists() else 0]
