"""Admission control: a bounded line of inputs that wait, bounded room for the bytes of uploads, and how long one that
finds no place should stay away.

Without it an overloaded service answers everything too late. A line that is longer than can be answered in time is of
no use to anyone, so its length follows from the measured service time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from registry.core.errors import Overloaded

MAX_WAITING = 1024
"""Each waiting input is held in memory; those that are quick enough for this to matter are small ones."""
MIB = 1 << 20
SMALL_UPLOAD = 8 * MIB
"""Bytes of an upload that is no reason to refuse others: a picture, say."""
ROOM_RETRY_S = 2
_WEIGHT = 0.1  # of a new measurement in the mean: some twenty inputs and it has followed a change


class AdmissionQueue:
    """Who is being worked on and who waits. Used from the event loop only.

    Args:
        slots: inputs that are worked on at once.
        limit: how many more may wait; 0: as many as are answered within half of `timeout_s`, `MAX_WAITING` at most.
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
        return max(self.slots, min(MAX_WAITING, int(in_time)))

    def check(self, count: int = 1) -> None:
        """Raises Overloaded if `count` more would have to wait and there is no room for them."""
        free = self.slots + self.capacity - self._inside
        if not count or count <= free or not self._inside:  # alone in the house, even the largest request gets in
            return
        raise Overloaded(
            f"{self.waiting} inputs wait already, and there is room for {self.capacity}",
            expected="fewer requests at once",
            fix="try again after Retry-After seconds, or send fewer at once",
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


class UploadBudget:
    """Bytes of uploads that are in memory, from when they come in until their answer is made. From the event loop only.

    Args:
        most: bytes that they may take together. A request that is alone has room whatever its size.
        small: uploads of at most so many bytes may take a quarter more, or a few large ones would keep them out; 0: of
            no use where callers have a share.
    """

    def __init__(self, most: int, small: int = SMALL_UPLOAD) -> None:
        self.most, self.small = most, small
        self.taken = 0
        self._by_caller = Counter[str]()

    def held(self, caller: str | None = None) -> Reservation:
        """Room for one request, given back at the end of the `with` block.

        Args:
            caller: who may hold at most half of what the others leave, in all requests together, so that some room is
                left for one more caller (a dynamic threshold: Choudhury and Hahne, IEEE/ACM Transactions on Networking
                6(2), 1998). None: no such bound.
        """
        return Reservation(self, caller)

    def of(self, caller: str) -> int:
        """Bytes that are held for a caller."""
        return self._by_caller[caller]

    def count(self, caller: str | None, size: int) -> None:
        self.taken += size
        if caller is not None:
            self._by_caller[caller] += size
            if not self._by_caller[caller]:
                del self._by_caller[caller]


class Reservation:
    """What one request takes of a `Room`."""

    def __init__(self, room: UploadBudget, caller: str | None = None) -> None:
        self._room, self._caller, self._bytes = room, caller, 0

    def check(self, size: int) -> None:
        """Raises Overloaded if there is no room for `size` bytes more."""
        if self.fits(size):
            return
        if self._fits_all(size):
            own, share = self._room.of(self._caller or ""), self._share()
            raise Overloaded(
                f"your requests hold {own / MIB:,.1f} MiB already, and one caller may hold {share / MIB:,.1f} MiB now",
                expected="fewer uploads of one caller at once, each sent without a pause",
                fix="wait for the answers to those, then try again",
                retry_after_s=ROOM_RETRY_S,
            )
        others, most = self._room.taken - self._bytes, self._most(size)
        raise Overloaded(
            f"uploads of {others / MIB:,.0f} MiB are being worked on, and there is room for {most / MIB:,.0f} MiB",
            expected="fewer large uploads at once",
            fix="try again after Retry-After seconds, or send smaller files",
            retry_after_s=ROOM_RETRY_S,
        )

    def fits(self, size: int) -> bool:
        """Whether there is room for `size` bytes more."""
        return self._fits_all(size) and (
            self._caller is None
            or self._room.taken == self._bytes  # alone
            or self._room.of(self._caller) + size <= self._share()
        )

    def _fits_all(self, size: int) -> bool:
        others = self._room.taken - self._bytes
        return not others or others + self._bytes + size <= self._most(size)

    def _share(self) -> float:
        """Bytes that the caller may have together: half of what the others leave. The quarter for small ones is not in
        it."""
        return (self._room.most - self._room.taken + self._room.of(self._caller or "")) / 2

    def _most(self, size: int) -> int:
        return self._room.most if self._bytes + size > self._room.small else self._room.most * 5 // 4

    def take(self, size: int) -> None:
        """Room for `size` bytes more. Raises as `check`."""
        self.check(size)
        self._bytes += size
        self._room.count(self._caller, size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._room.count(self._caller, -self._bytes)
