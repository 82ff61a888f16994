"""Waiting for what another thread or process does, and ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import psutil

T = TypeVar("T")


def until(
    what: Callable[[], T], within_s: float = 60.0, pause_s: float = 0.02, errors: tuple[type[Exception], ...] = ()
) -> T:
    """Calls `what` until it returns something true, and returns that.

    Args:
        what: looked at every `pause_s` seconds.
        errors: what `what` may raise until it is time, e.g. `httpx.HTTPError` before a server listens.

    Raises:
        AssertionError: after `within_s` seconds, with the last value or error.
    """
    end = time.monotonic() + within_s
    while True:
        found: T | Exception
        try:
            if found := what():
                return found
        except errors as error:
            found = error
        assert time.monotonic() < end, f"{found!r} after {within_s:g} s"
        time.sleep(pause_s)


def gone(*pids: int) -> bool:
    """Whether none of the processes runs. A zombie is gone too: it only waits for its parent to notice."""
    return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)
