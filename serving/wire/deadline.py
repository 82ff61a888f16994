"""Ends work that nobody waits for any more, and settles how a call ends: once."""

from __future__ import annotations

import threading
import time

from registry.core.errors import BadInput, TooLarge, VisionloopError


class CallerGone(BadInput):
    """The connection was closed before the answer; nobody reads this (499 as in nginx's log)."""

    http_status = 499


class CallDeadline:
    """One call: who waits for it, in the event loop, and who works on it, in a thread, are told by it of each other.

    Given to the predictor as `told`, it ends the work on a video that takes longer than a caller waits for; from
    `SURE_S` seconds on also one that would take more than twice as long at its pace.

    Attributes:
        prediction_id: under which the call will be in the log; empty until it is begun.
        given_up: why nobody waits any more.
    """

    SURE_S = 5.0

    def __init__(self, limit_s: float) -> None:
        self._limit = limit_s
        self._began = time.monotonic()
        self._open = threading.Lock()
        self.prediction_id = ""
        self.given_up: VisionloopError | None = None

    def settle(self) -> bool:
        """Whether the answer, or the error, of who works is what the caller gets, and so what the log says."""
        return self._open.acquire(blocking=False)

    def give_up(self, error: VisionloopError) -> bool:
        """Whether `error` is what the caller gets; then work on a video ends at the next frame."""
        self.given_up = error  # before: who finds it settled looks here
        return self.settle()

    def __call__(self, done: int, total: int) -> None:
        """Raises TooLarge, or CallerGone."""
        if self.given_up is not None:
            raise CallerGone("nobody waits any more")
        spent = time.monotonic() - self._began
        needed = spent * total / max(done, 1)
        if spent <= self._limit and not (spent >= self.SURE_S and needed > 2 * self._limit):
            return
        raise TooLarge(
            f"the video would take about {needed:,.0f} s here: {done:,} of its {total:,} frames took {spent:.0f} s",
            expected=f"a video that is done within {self._limit:g} s, about {done * self._limit / spent:,.0f} frames",
            fix="submit it to `POST tasks`, which has no time limit, cut the video, or have request_timeout_s raised",
        )
