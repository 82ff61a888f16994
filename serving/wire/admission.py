"""Admission control: a bounded queue of inputs, a bounded budget for the bytes of uploads, and when a refused caller
should come back.

Without it an overloaded service answers everybody too late. Nobody has a use for a queue that is longer than what can
be answered in time, so its length follows from the measured service time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from registry.core.errors import Overloaded, TooLarge

MAX_WAITING = 1024
"""Inputs. Each is held in memory; only small ones are answered quickly enough for this bound to matter."""
MIB = 1 << 20
SMALL_UPLOAD = 8 * MIB
"""Bytes of an upload that is no reason to refuse others, such as a picture."""
UPLOAD_RETRY_S = 2
_WEIGHT = 0.1  # of a new measurement in the mean: it follows a change within some twenty inputs


class AdmissionQueue:
    """Counts the inputs at work and those that wait. Used from the event loop only.

    Args:
        slots: inputs that are worked on at once.
        limit: how many more may wait; 0: as many as are answered within half of `timeout_s`, `MAX_WAITING` at most.
        timeout_s: the longest that a caller waits.
    """

    def __init__(self, slots: int, limit: int, timeout_s: float) -> None:
        self.slots = slots
        self._limit = limit
        self._timeout_s = timeout_s
        self._admitted = 0
        self._service_s = 0.0

    @property
    def running(self) -> int:
        return min(self._admitted, self.slots)

    @property
    def waiting(self) -> int:
        return max(0, self._admitted - self.slots)

    @property
    def service_s(self) -> float:
        """Mean seconds that an input occupies its slot; 0 before the first."""
        return self._service_s

    @property
    def capacity(self) -> int:
        """How many inputs may wait now."""
        if self._limit:
            return self._limit
        in_time = self._timeout_s / 2 * self.slots / max(self._service_s, 1e-4)
        return max(self.slots, min(MAX_WAITING, int(in_time)))

    def check(self, count: int = 1) -> None:
        """Raises Overloaded if `count` more would have to wait and there is no room for them."""
        free = self.slots + self.capacity - self._admitted
        if not count or count <= free or not self._admitted:  # an empty queue admits even the largest request
            return
        raise Overloaded(
            f"{self.waiting} inputs are waiting, and at most {self.capacity} may",
            expected="fewer requests at once",
            fix="try again after Retry-After seconds, or send fewer at once",
            retry_after_s=self.retry_after_s,
        )

    @property
    def retry_after_s(self) -> int:
        """Seconds until the inputs that wait now will have been answered."""
        seconds = (self.waiting + 1) * self._service_s / self.slots
        return max(1, min(math.ceil(seconds), math.ceil(self._timeout_s)))

    @contextmanager
    def places(self, count: int) -> Iterator[None]:
        """Admits `count` inputs while they wait and are worked on. Raises Overloaded."""
        self.check(count)
        self._admitted += count
        try:
            yield
        finally:
            self._admitted -= count

    def record(self, seconds: float) -> None:
        """Notes how long an input occupied its slot."""
        self._service_s += (seconds - self._service_s) * (_WEIGHT if self._service_s else 1.0)


class UploadBudget:
    """Bounds the bytes of uploads in memory, from their arrival until they are answered. Used from the event loop only.

    Args:
        limit: bytes that all requests may hold together. A request that is alone is admitted whatever its size.
        small: requests of at most so many bytes may exceed the limit by a quarter, or a few large ones would keep them
            out. 0 where callers have a share.
    """

    def __init__(self, limit: int, small: int = SMALL_UPLOAD) -> None:
        self.limit, self.small = limit, small
        self.taken = 0
        self._by_caller = Counter[str]()

    @contextmanager
    def reserve(self, caller: str | None = None) -> Iterator[Reservation]:
        """The reservation of one request, given back at the end of the `with` block.

        Args:
            caller: may hold, in all its requests together, at most half of what the others leave. So there is always
                room for one more caller (a dynamic threshold: Choudhury and Hahne, IEEE/ACM Transactions on Networking
                6(2), 1998). None: no such bound.
        """
        reservation = Reservation(self, caller)
        try:
            yield reservation
        finally:
            self.count(caller, -reservation.size)

    def held_by(self, caller: str) -> int:
        """Bytes that a caller holds."""
        return self._by_caller[caller]

    def count(self, caller: str | None, size: int) -> None:
        self.taken += size
        if caller is not None:
            self._by_caller[caller] += size
            if not self._by_caller[caller]:
                del self._by_caller[caller]


def too_large(found: str, max_bytes: int) -> TooLarge:
    return TooLarge(
        found,
        expected=f"at most {max_bytes:,} bytes ({max_bytes / MIB:,.0f} MiB)",
        fix="compress or crop the file",
    )


class Reservation:
    """The bytes that one request holds of an `UploadBudget`: `size` by now."""

    def __init__(self, budget: UploadBudget, caller: str | None) -> None:
        self._budget, self._caller, self.size = budget, caller, 0

    def check(self, size: int) -> None:
        """Raises Overloaded if there is no room for `size` bytes more."""
        if self.fits(size):
            return
        if self._fits_limit(size):
            own, share = self._budget.held_by(self._caller or ""), self._share()
            raise Overloaded(
                f"your requests hold {own / MIB:,.1f} MiB, and one caller may hold {share / MIB:,.1f} MiB now",
                expected="fewer uploads of one caller at once, each sent without a pause",
                fix="wait for the answers to those, then try again",
                retry_after_s=UPLOAD_RETRY_S,
            )
        others, limit = self._budget.taken - self.size, self._limit(size)
        raise Overloaded(
            f"uploads of {others / MIB:,.0f} MiB are being worked on, and there is room for {limit / MIB:,.0f} MiB",
            expected="fewer large uploads at once",
            fix="try again after Retry-After seconds, or send smaller files",
            retry_after_s=UPLOAD_RETRY_S,
        )

    def fits(self, size: int) -> bool:
        """Whether there is room for `size` bytes more."""
        return self._fits_limit(size) and (
            self._caller is None
            or self._budget.taken == self.size  # alone
            or self._budget.held_by(self._caller) + size <= self._share()
        )

    def _fits_limit(self, size: int) -> bool:
        others = self._budget.taken - self.size
        return not others or others + self.size + size <= self._limit(size)

    def _share(self) -> float:
        """Bytes that the caller may hold: half of what the others leave, without the quarter for small requests."""
        return (self._budget.limit - self._budget.taken + self._budget.held_by(self._caller or "")) / 2

    def _limit(self, size: int) -> int:
        budget = self._budget
        return budget.limit if self.size + size > budget.small else budget.limit * 5 // 4

    def take(self, size: int) -> None:
        """Reserves `size` bytes more. Raises as `check`."""
        self.check(size)
        self.size += size
        self._budget.count(self._caller, size)
