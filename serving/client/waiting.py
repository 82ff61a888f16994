"""How `wait` looks at a task: soon at first, then every few seconds; patiently while nothing answers."""

from __future__ import annotations

import time
from collections.abc import Callable

from registry.core.errors import MissingService
from serving.client.types import Task

FIRST_PAUSE_S, GROWTH = 0.2, 1.5

Progress = Callable[[Task], object]


class Watch:
    """When to look again, whom to tell, and when to stop.

    Args:
        progress: is told what is seen whenever that is something new.
        patience_s: how long nothing may answer.
        every_s: the longest pause between two looks. Each is a request that counts against the key's quota.
        timeout_s: how long to look; None: until the task is over.
    """

    def __init__(self, progress: Progress | None, patience_s: float, every_s: float, timeout_s: float | None) -> None:
        self._progress, self._patience_s, self._every_s = progress, patience_s, every_s
        self._heard = time.monotonic()
        self._end = self._heard + timeout_s if timeout_s is not None else float("inf")
        self._next_pause_s = FIRST_PAUSE_S
        self._told: Task | None = None
        self._over = False

    @property
    def goes_on(self) -> bool:
        return not self._over and time.monotonic() < self._end

    def saw(self, task: Task) -> None:
        self._heard, self._over = time.monotonic(), task.over
        if task != self._told and self._progress is not None:
            self._progress(task)
        self._told = task

    def missed(self, error: MissingService) -> None:
        """Nothing answered, as when a router is being restarted. Raises the error when that lasts for too long."""
        if time.monotonic() - self._heard > self._patience_s:
            raise error

    def pause(self) -> float:
        """Seconds until the next look; none after the last."""
        if not self.goes_on:
            return 0.0
        pause = min(self._next_pause_s, self._every_s, self._end - time.monotonic())
        self._next_pause_s *= GROWTH
        return max(pause, 0.0)
