"""Who goes first on a busy machine: what answers people before what trains, and before a service that is starting.

Two things decide that on Linux: the nice value of each thread, and that of the session it belongs to (`autogroup`, see
sched(7)). Where sessions are grouped, the former counts only inside of one; so both are set. Elsewhere it does nothing.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

BEHIND = 10
"""A tenth of the time of what it competes with: what is behind goes on all the same."""
_GROUP = Path("/proc/self/autogroup")
_TASKS = Path("/proc/self/task")


def give_way() -> None:
    """This process, and what it starts from now on, goes behind others for good. Call it before it has threads."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, 0, max(BEHIND, os.getpriority(os.PRIO_PROCESS, 0)))
    _group(BEHIND)


class LowPriority:
    """This process goes behind others until `catch_up`, as far as it is allowed to come back.

    Call it before the process has threads: they inherit it.
    """

    def __init__(self) -> None:
        self._threads = _may_return()
        if self._threads:
            os.setpriority(os.PRIO_PROCESS, 0, BEHIND)
        _group(BEHIND)

    def catch_up(self) -> None:
        """All threads of the process are as before. A second call does nothing."""
        _group(0)
        for _ in range(2 if self._threads else 0):  # twice: a thread that was just being started inherited it
            for task in _TASKS.iterdir():
                with suppress(OSError):  # it has ended meanwhile
                    os.setpriority(os.PRIO_PROCESS, int(task.name), 0)
        self._threads = False


def _may_return() -> bool:
    """Whether a thread may raise its priority again, which needs a right; found out by one that ends with it."""
    found = []

    def attempt() -> None:
        with suppress(OSError, AttributeError):
            if os.getpriority(os.PRIO_PROCESS, 0) == 0 and _TASKS.is_dir():
                os.setpriority(os.PRIO_PROCESS, 0, 1)
                os.setpriority(os.PRIO_PROCESS, 0, 0)
                found.append(True)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return bool(found)


def _group(nice: int) -> None:
    """Of this process's session, if it is its own: a terminal's is not ours to change."""
    with suppress(OSError, AttributeError):
        if os.getsid(0) != os.getpid():
            return
        for _ in range(20):
            try:
                _GROUP.write_text(str(nice))
                return
            except BlockingIOError:  # one change in a tenth of a second, of all unprivileged processes together
                time.sleep(0.1)
