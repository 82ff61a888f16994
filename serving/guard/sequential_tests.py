"""Tests whose result may be looked at at any time. NumPy only.

`compare` bets against "both versions score the same on average" (Waudby-Smith and Ramdas 2024, Estimating means of
bounded random variables by betting, doi:10.1093/jrsssb/qkad009). Scores come in pairs, one of each version, in order of
arrival; a pair's difference d lies in [-1, 1]. Who stakes the share s of their capital on the sign of d has
prod(1 + s d) after all pairs, and under the hypothesis cannot expect to win (the product is a martingale). The evidence
is the mean of these products over a fixed grid of stakes of both signs. By Ville's inequality it ever reaches 1 / alpha
with probability alpha at most, whenever one stops and however the scores are distributed. The same bets against every
other difference give an interval that holds at all times at once.

`more_than` and `more_errors` are exact tests of counts; `level_of_look` divides a level among looks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ALPHA, POWER, EFFECT = 0.05, 0.8, 0.1
STAKES = np.array([sign * stake for sign in (-1.0, 1.0) for stake in np.geomspace(0.02, 0.8, 12)])
DIFFERENCES = np.linspace(-1.0, 1.0, 401)


@dataclass(frozen=True)
class TestResult:
    """The result of a comparison so far.

    Attributes:
        pairs: scores of each version that were compared.
        a, b: mean scores over the pairs.
        evidence: its maximum so far; 1 / alpha decides.
        low, high: the interval of b - a, valid at all times with probability 1 - alpha.
        most: pairs after which it ends undecided; a difference of `effect` is found within them with `power`.
    """

    pairs: int
    a: float
    b: float
    evidence: float
    low: float
    high: float
    alpha: float
    power: float
    effect: float
    most: int

    @property
    def decided(self) -> bool:
        return self.evidence >= 1 / self.alpha

    @property
    def over(self) -> bool:
        return self.decided or self.pairs >= self.most

    @property
    def winner(self) -> str:
        """a, b, or nothing while neither is better beyond chance."""
        return "" if not self.decided else "b" if self.b > self.a else "a"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "winner": self.winner, "over": self.over}


def compare(a: Sequence[float], b: Sequence[float], *, alpha: float = ALPHA, effect: float = EFFECT) -> TestResult:
    """Whether b's scores differ from a's on average, looked at whenever one likes.

    Args:
        a, b: scores in [0, 1], the oldest first; the longer one waits for the other.
        alpha: how often it may ever see a difference where there is none.
        effect: the smallest difference of means that matters.
    """
    most = pairs_needed(effect, alpha)
    count = min(len(a), len(b), most)
    left, right = (np.asarray(scores[:count], dtype=np.float64) for scores in (a, b))
    if count and (min(left.min(), right.min()) < 0 or max(left.max(), right.max()) > 1):
        raise ValueError("scores must lie in [0, 1]")
    differences = right - left
    path = evidence_path(differences)
    low, high = _interval(differences, alpha)
    means = (float(left.mean()), float(right.mean())) if count else (math.nan, math.nan)
    evidence = float(path.max(initial=1.0))
    return TestResult(count, *means, evidence, low, high, alpha, POWER, effect, most)


def pairs_needed(effect: float, alpha: float = ALPHA) -> int:
    """Pairs within which a difference of `effect` is found with POWER, for scores that scatter most (0 or 1).

    The best stake wins effect^2 / (2 variance) a pair on average, the variance of a difference being 1/2 at most; the
    constants cover the mixture over stakes and the scatter of the sum. Held to by simulation in the tests.
    """
    gain = effect**2
    scatter = 0.84 * math.sqrt(2 * gain)  # the 80th percentile of a normal
    target = math.log(1 / alpha) + math.log(len(STAKES))
    root = (scatter + math.sqrt(scatter**2 + 4 * gain * target)) / (2 * gain)
    return math.ceil(root**2)


def evidence_path(differences: Array) -> Array:
    """The evidence against "no difference" after each pair, float64 [n]; `differences` are b's scores less a's."""
    return np.asarray(np.exp(_log_evidence(differences, 0.0)))


def _log_evidence(differences: Array, mean: float) -> Array:
    """Log of the evidence against "the mean difference is `mean`" after each pair, float64 [n]."""
    centred = (differences - mean) / (1 + abs(mean))
    logs = np.log1p(STAKES[:, None] * centred[None]).cumsum(axis=1)
    return np.asarray(np.logaddexp.reduce(logs, axis=0) - math.log(len(STAKES)))


def _interval(differences: Array, alpha: float) -> tuple[float, float]:
    if not len(differences):
        return -1.0, 1.0
    kept = [m for m in DIFFERENCES if _log_evidence(differences, m).max() < math.log(1 / alpha)]
    return (float(min(kept)), float(max(kept))) if kept else (float(differences.mean()),) * 2


def more_errors(errors: int, calls: int, others: int, other_calls: int) -> float:
    """Fisher's exact test, one-sided: probability of so many errors or more if both versions fail alike.

    `errors` of `calls` are the tested version's, `others` of `other_calls` the one it is held against.
    """
    total, failed = calls + other_calls, errors + others
    tail = [
        _log_choose(failed, k) + _log_choose(total - failed, calls - k) - _log_choose(total, calls)
        for k in range(errors, min(failed, calls) + 1)
    ]
    return min(1.0, math.fsum(math.exp(one) for one in tail))


def more_than(hits: int, trials: int, share: float) -> float:
    """Exact binomial test, one-sided: probability of so many hits or more if each has at most this share."""
    if hits <= 0 or share >= 1:
        return 1.0
    if share <= 0:
        return 0.0
    logs = (math.log(share), math.log1p(-share))
    tail = (_log_choose(trials, k) + k * logs[0] + (trials - k) * logs[1] for k in range(hits, trials + 1))
    return min(1.0, math.fsum(math.exp(one) for one in tail))


def level_of_look(alpha: float, look: int) -> float:
    """The level of the `look`-th look, from 1: alpha / (k (k + 1)), which adds up to alpha over all looks."""
    return alpha / (look * (look + 1))


def look_at(calls: int) -> int:
    """Which look is due after so many calls, from 1: one more with every half as many again; 0 before the first."""
    return 0 if calls < 1 else 1 + math.floor(math.log(calls) / math.log(1.5))


def _log_choose(n: int, k: int) -> float:
    if not 0 <= k <= n:
        return -math.inf
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
