"""Admission control: a bounded line of inputs that wait, and how long one that finds it full should stay away.

Without it an overloaded service answers everything too late. A line that is longer than can be answered in time is of
no use to anyone, so its length follows from the measured service time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from registry.errors import Overloaded

MOST = 1024
"""Each waiting input is held in memory; those that are quick enough for this to matter are small ones."""
_WEIGHT = 0.1  # of a new measurement in the mean: some twenty inputs and it has followed a change


class Line:
    """Who is being worked on and who waits. Used from the event loop only.

    Args:
        slots: inputs that are worked on at once.
        limit: how many more may wait; 0: as many as are answered within half of `timeout_s`, `MOST` at most.
        timeout_s: what a caller waits at most.
    """

    def __init__(self, slots: int, limit: int, timeout_s: float) -> None:
        self.slots = slots
        self._limit = limit
        self._timeout_s = timeout_s
        self._inside = 0
        self._service_s = 0.0

    @property
    def running(self) -> int:
        return min(self._inside, self.slots)

    @property
    def waiting(self) -> int:
        return max(0, self._inside - self.slots)

    @property
    def service_s(self) -> float:
        """Mean seconds that an input occupies its slot; 0 before the first."""
        return self._service_s

    @property
    def capacity(self) -> int:
        """How many may wait now."""
        if self._limit:
            return self._limit
        in_time = self._timeout_s / 2 * self.slots / max(self._service_s, 1e-4)
        return max(self.slots, min(MOST, int(in_time)))

    def check(self, count: int = 1) -> None:
        """Raises Overloaded if `count` more would have to wait and there is no room for them."""
        free = self.slots + self.capacity - self._inside
        if count <= free or not self._inside:  # alone in the house, even the largest request gets in
            return
        raise Overloaded(
            f"{self.waiting} inputs wait already, and there is room for {self.capacity}",
            expected="fewer requests at once",
            mend="try again after Retry-After seconds, or send fewer at once",
            retry_after_s=self.retry_after_s,
        )

    @property
    def retry_after_s(self) -> int:
        """Seconds until those who wait now will have been answered."""
        seconds = (self.waiting + 1) * self._service_s / self.slots
        return max(1, min(math.ceil(seconds), math.ceil(self._timeout_s)))

    @contextmanager
    def places(self, count: int) -> Iterator[None]:
        """Room for `count` inputs while they wait and are worked on. Raises Overloaded."""
        self.check(count)
        self._inside += count
        try:
            yield
        finally:
            self._inside -= count

    def served(self, seconds: float) -> None:
        """Tells how long an input occupied its slot."""
        self._service_s += (seconds - self._service_s) * (_WEIGHT if self._service_s else 1.0)
