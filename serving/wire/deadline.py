"""The time limit of a call, its caller's end, and which side says how the call ends."""

from __future__ import annotations

import threading
import time

from starlette.types import Receive

from registry.core.errors import BadInput, TooLarge, VisionloopError


class CallerGone(BadInput):
    """The caller closed the connection before the answer; nobody reads this (499 as in nginx's log)."""

    http_status = 499


async def until_disconnected(receive: Receive) -> None:
    """Returns when the caller has closed the connection. What is left of the body is read and thrown away."""
    while (await receive())["type"] != "http.disconnect":
        pass


class CallDeadline:
    """One call, shared by the event loop, where its caller waits, and the thread that works on it.

    Either side may end the call; the first to `settle` it decides what the caller gets and what the log says.

    As the predictor's progress callback it ends work on a video that takes longer than a caller waits. From `SURE_S`
    seconds on it also ends work that would take more than twice as long at its pace.

    Attributes:
        prediction_id: id of the call in the log; empty until work has begun.
        given_up: why the caller no longer waits.
    """

    SURE_S = 5.0

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._settled = False
        self.prediction_id = ""
        self.given_up: VisionloopError | None = None

    def settle(self) -> bool:
        """Claims the call. False if the other side did so first."""
        with self._lock:
            first, self._settled = not self._settled, True
        return first

    def give_up(self, error: VisionloopError) -> bool:
        """Ends the call with `error`; work on a video ends at the next frame. False if the answer was there first."""
        self.given_up = error  # before `settle`: the thread that finds the call settled reads it
        return self.settle()

    def __call__(self, done: int, total: int) -> None:
        """Notes that `done` of `total` frames are done. Raises TooLarge, or CallerGone."""
        if self.given_up is not None:
            raise CallerGone("the caller no longer waits")
        spent = time.monotonic() - self._began
        needed = spent * total / max(done, 1)
        if spent <= self._limit_s and not (spent >= self.SURE_S and needed > 2 * self._limit_s):
            return
        raise TooLarge(
            f"the video would take about {needed:,.0f} s here: {done:,} of its {total:,} frames took {spent:.0f} s",
            expected=f"a video done within {self._limit_s:g} s, some {done * self._limit_s / spent:,.0f} frames",
            fix="submit it to `POST tasks`, which has no time limit, or cut the video",
        )
