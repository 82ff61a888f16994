"""Lowers the priority of training, starting services and pages, so that predictions go first.

Linux looks at the nice value of each thread, and at that of its session (`autogroup`, see sched(7)). Where sessions are
grouped, a thread's value counts only inside its session, so both are set. On other systems nothing happens.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

NICE = 10
"""The nice value of low priority: a tenth of the processor time that a normal process gets, so work still goes on."""

_GROUP = Path("/proc/self/autogroup")
_TASKS = Path("/proc/self/task")


def lower_priority(nice: int = NICE) -> None:
    """Lowers this process, and what it starts from now on, for good. Call it before the process has threads."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, 0, max(nice, os.getpriority(os.PRIO_PROCESS, 0)))
    _set_session(nice)


class LowPriority:
    """Low priority for this process until `restore`. Create it before the process has threads: they inherit it.

    Raising a priority again needs a right. Without it only the session is lowered, which anybody may take back.
    """

    def __init__(self) -> None:
        self._threads = _may_restore()
        if self._threads:
            os.setpriority(os.PRIO_PROCESS, 0, NICE)
        _set_session(NICE)

    def restore(self) -> None:
        """Gives all threads their old priority. A second call does nothing."""
        _set_session(0)
        for _ in range(2 if self._threads else 0):  # twice: a thread that was just being started inherited it
            for task in _TASKS.iterdir():
                with suppress(OSError):  # it has ended meanwhile
                    os.setpriority(os.PRIO_PROCESS, int(task.name), 0)
        self._threads = False


def _may_restore() -> bool:
    """Whether a thread may raise its priority again. Tried in a thread of its own, whose priority ends with it."""
    allowed = []

    def attempt() -> None:
        with suppress(OSError, AttributeError):
            if os.getpriority(os.PRIO_PROCESS, 0) == 0 and _TASKS.is_dir():
                os.setpriority(os.PRIO_PROCESS, 0, 1)
                os.setpriority(os.PRIO_PROCESS, 0, 0)
                allowed.append(True)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return bool(allowed)


def _set_session(nice: int) -> None:
    """Sets the nice value of this process's session, but not of a terminal's, which other processes share."""
    with suppress(OSError, AttributeError):
        if os.getsid(0) != os.getpid():
            return
        for _ in range(20):
            try:
                _GROUP.write_text(str(nice))
                return
            except BlockingIOError:  # Linux takes one change per 0.1 s from all unprivileged processes together
                time.sleep(0.1)
