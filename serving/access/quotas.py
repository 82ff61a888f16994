"""Quotas: how many requests a caller has left in this minute."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

MINUTE = 60


@dataclass(frozen=True)
class QuotaState:
    """A caller's quota after a request.

    Attributes:
        limit: requests per period.
        remaining: how many are left now.
        reset_s: whole seconds until there are more.
        allowed: whether this request is within the quota.
        period: "minute" or "month".
    """

    limit: int
    remaining: int
    reset_s: int
    allowed: bool
    period: str

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """RateLimit-Limit, -Remaining and -Reset of draft-ietf-httpapi-ratelimit-headers-06.

        Revision 07 puts the three into one field, which the clients in use do not read.
        """
        values = {"limit": self.limit, "remaining": self.remaining, "reset": self.reset_s}
        return [(f"ratelimit-{name}".encode(), str(value).encode()) for name, value in values.items()]


class Window:
    """A sliding window: never more than `limit` requests in any 60 s.

    It counts by whole seconds: a request leaves the window up to a second late, never early, and a caller takes 61
    numbers of memory at most. A token bucket would let twice the limit through in the first minute.
    """

    def __init__(self) -> None:
        self._seconds: deque[list[int]] = deque()  # [second, requests in it], the oldest first
        self._total = 0

    def take(self, limit: int, now: float) -> QuotaState:
        """Takes one request at `now` (monotonic seconds). It counts only if it is allowed."""
        self._forget(now)
        allowed = self._total < limit
        if allowed:
            second = int(now)
            if self._seconds and self._seconds[-1][0] == second:
                self._seconds[-1][1] += 1
            else:
                self._seconds.append([second, 1])
            self._total += 1
        return QuotaState(limit, max(limit - self._total, 0), self._reset(now), allowed, "minute")

    def empty(self, now: float) -> bool:
        """Whether it holds no request at `now`."""
        self._forget(now)
        return not self._seconds

    def _forget(self, now: float) -> None:
        while self._seconds and now >= self._seconds[0][0] + 1 + MINUTE:
            self._total -= self._seconds.popleft()[1]

    def _reset(self, now: float) -> int:
        return math.ceil(self._seconds[0][0] + 1 + MINUTE - now) if self._seconds else 0


class Windows:
    """The windows of all callers that were seen in the last minute."""

    TIDY_EVERY = 4096

    def __init__(self) -> None:
        self._windows: dict[str, Window] = {}
        self._since_tidied = 0

    def take(self, caller: str, limit: int, now: float) -> QuotaState | None:
        """Takes one request of a caller. Returns None where `limit` is 0: no limit."""
        if not limit:
            return None
        self._since_tidied += 1
        if self._since_tidied >= self.TIDY_EVERY:
            self._since_tidied = 0
            self._windows = {name: window for name, window in self._windows.items() if not window.empty(now)}
        window = self._windows.get(caller)
        if window is None:
            window = self._windows[caller] = Window()
        return window.take(limit, now)
