"""Ends work that nobody waits for any more."""

from __future__ import annotations

import time

from registry.errors import BadInput, TooLarge


class CallerGone(BadInput):
    """The connection was closed before the answer; nobody reads this (499 as in nginx's log)."""

    http_status = 499


class Stopwatch:
    """Ends the work on a video that takes longer than a caller waits for; given to the predictor as `told`.

    From `SURE_S` seconds on it also ends one that would take more than twice as long at its pace.
    """

    SURE_S = 5.0

    def __init__(self, limit_s: float) -> None:
        self._limit = limit_s
        self._began = time.monotonic()
        self._gone = False

    def caller_went(self) -> None:
        """Ends the work at the next frame."""
        self._gone = True

    def __call__(self, done: int, total: int) -> None:
        """Raises TooLarge, or CallerGone."""
        if self._gone:
            raise CallerGone("the caller went away")
        spent = time.monotonic() - self._began
        needed = spent * total / max(done, 1)
        if spent <= self._limit and not (spent >= self.SURE_S and needed > 2 * self._limit):
            return
        raise TooLarge(
            f"the video would take about {needed:,.0f} s here: {done:,} of its {total:,} frames took {spent:.0f} s",
            expected=f"a video that is done within {self._limit:g} s, about {done * self._limit / spent:,.0f} frames",
            mend="submit it to `POST tasks`, which has no time limit, use the command line (`visionloop predict MODEL "
            "FILE --out OUT.webm`), cut the video, or raise request_timeout_s",
        )
