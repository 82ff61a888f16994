"""Whether a version is slower than another, counted in moments instead of calls.

What holds one call up, a busy machine or a line that has formed, holds those beside it up as well: a test that takes
calls as independent condemns harmless versions (docs/decisions/0025-latency-is-judged-by-moments.md). So the unit is a
moment of some seconds, in which both versions share the machine. A harmless version is the slower one in half of them
at most, whatever the machine does meanwhile.
"""

from __future__ import annotations

import math
import time
from collections import Counter

from serving.guard.sequential_tests import more_errors, more_than
from serving.router.traffic import WIDTH, Latencies

MOMENT_S = 5.0
LEAST = 8
"""Moments before there is anything to say: all of eight are less likely than 0.5 %."""
SLOWEST = 0.05
"""The share of calls above the 95th percentile."""
EVEN = 0.5 + 1e-9  # probabilities are sums of exponentials


class LatencyTest:
    """Goes through the counts of a step as they grow.

    Args:
        ratio: the slowest calls of the new version may take so many times as long as those of the old one.
    """

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio
        self._began = time.monotonic()
        self._new, self._old = Latencies(), Latencies()
        self.count = self.slower = 0

    @property
    def p(self) -> float:
        """Probability that a version which is no slower was the slower one so often (sign test)."""
        return more_than(self.slower, self.count, 0.5)

    def look(self, new: Latencies, old: Latencies) -> bool:
        """Takes both versions' latencies from the beginning of the step until now; returns whether a moment is over.

        It lasts until each of them has had a call.
        """
        now = time.monotonic()
        news, olds = new.since(self._new), old.since(self._old)
        if now - self._began < MOMENT_S or not news.count or not olds.count:
            return False
        self.count += 1
        self.slower += is_slower(news, olds, self._ratio)
        self._new, self._old, self._began = new, old, now
        return True


def is_slower(new: Latencies, old: Latencies, ratio: float) -> bool:
    """Whether more of the slowest calls of both are `new`'s than chance deals to it in half of all cases.

    The old version's calls count as `ratio` times as long as they were. The slowest are a twentieth; of few calls they
    are so many that all of them being `new`'s would mean something. Calls that took the same time are among them
    together, or none of them is.
    """
    by = math.ceil(math.log(ratio) / WIDTH)
    both = Counter({bucket + by: count for bucket, count in old.buckets.items()}) + new.buckets
    slow = hits = 0
    for bucket in sorted(both, reverse=True):
        if slow >= SLOWEST * both.total() and _likely(min(slow, new.count), slow, new, old) < EVEN:
            break
        slow += both[bucket]
        hits += new.buckets[bucket]
    return _likely(hits, slow, new, old) < EVEN


def _likely(hits: int, slow: int, new: Latencies, old: Latencies) -> float:
    """Probability that chance deals so many of the slow calls to `new`, or more."""
    return more_errors(hits, new.count, slow - hits, old.count)
