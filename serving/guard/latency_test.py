"""A test whether a version is slower than another, by moments instead of calls.

Whatever delays one call (a busy machine, a queue) delays those beside it too. A test that takes calls as independent
therefore condemns harmless versions (docs/decisions/0025-latency-is-judged-by-moments.md). So the unit is a moment of
some seconds, in which both versions share the machine. A harmless version is slower in at most half of the moments.
"""

from __future__ import annotations

import math
import time
from collections import Counter

from serving.guard.sequential_tests import more_errors, more_than
from serving.router.traffic import BUCKET_WIDTH, Latencies

MOMENT_S = 5.0
MIN_MOMENTS = 8
"""Moments before a verdict: to be slower in all of eight has a chance of less than 0.5 %."""
SLOWEST_SHARE = 0.05
"""The share of calls above the 95th percentile."""
EVEN = 0.5 + 1e-9  # probabilities are sums of exponentials


class LatencyTest:
    """Follows the counts of a step as they grow.

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
        """Probability that a version that is not slower was slower so often (sign test)."""
        return more_than(self.slower, self.count, 0.5)

    def look(self, new: Latencies, old: Latencies) -> bool:
        """Takes both versions' latencies from the beginning of the step until now. Returns whether a moment is over.

        A moment lasts until each version has had a call.
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
    """Whether more of the slowest calls are `new`'s than chance gives it in half of all cases.

    The old version's calls count as `ratio` times as long as they took. The slowest are a twentieth of all; of few
    calls so many that all of them being `new`'s would be significant. Calls of the same bucket count together.
    """
    by = math.ceil(math.log(ratio) / BUCKET_WIDTH)
    both = Counter({bucket + by: count for bucket, count in old.buckets.items()}) + new.buckets
    slow = hits = 0
    for bucket in sorted(both, reverse=True):
        if slow >= SLOWEST_SHARE * both.total() and _likely(min(slow, new.count), slow, new, old) < EVEN:
            break
        slow += both[bucket]
        hits += new.buckets[bucket]
    return _likely(hits, slow, new, old) < EVEN


def _likely(hits: int, slow: int, new: Latencies, old: Latencies) -> float:
    """Probability that by chance so many of the slow calls, or more, are `new`'s."""
    return more_errors(hits, new.count, slow - hits, old.count)
