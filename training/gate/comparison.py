"""Compares two versions on the same cases: the difference, and whether it may be chance."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from registry.contract.spec import ModelSpec
from registry.versions.bundle import Score
from registry.versions.decision import ENOUGH, SliceRow
from training.workspace.intervals import resamples_of, rows_by_group

OVERALL = "all"

CHANCE = 0.025
"""Largest accepted probability that two equal versions differ as much: the tail of a two-sided 95 % interval."""

_ALL_SWAPS = 10  # up to so many cases or groups, all 2^n ways to swap are tried
_SEED = 11


@dataclass(frozen=True)
class Difference:
    """How much better one version is, in the metric's unit, with its paired 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass
class Comparison:
    """The results of two versions on the same cases, cut into slices.

    Attributes:
        ours, theirs, truths: one entry a case.
        members: slice -> rows of its cases; `all` is one of them.
        rounds: bootstrap samples, and random swaps.
        groups: `Case.group` of each case, e.g. its patient; (): no groups. Cases of a group are not independent, so
            they are drawn and swapped together, and count as one.
    """

    spec: ModelSpec
    ours: Sequence[Any]
    theirs: Sequence[Any]
    truths: Sequence[Any]
    members: Mapping[str, Sequence[int]]
    rounds: int
    groups: Sequence[str] = ()
    _found: dict[str, Difference] = field(init=False, default_factory=dict)
    _chances: dict[tuple[str, str], float] = field(init=False, default_factory=dict)

    def cases(self, name: str) -> int:
        """How many cases a slice has; 0 if there is no such slice."""
        return len(self.members.get(name, ()))

    def witnesses(self, name: str) -> int:
        """How many independent units a slice has: groups, and cases without a group."""
        return len(self._units(self.members.get(name, ())))

    def value(self, name: str) -> float:
        """How much better `ours` is on a slice, without the interval."""
        rows = self.members[name]
        return self._better([self.ours[row] for row in rows], [self.theirs[row] for row in rows], rows)

    def difference(self, name: str) -> Difference:
        """How much better `ours` is on a slice."""
        if name not in self._found:
            self._found[name] = self._difference(self.members[name])
        return self._found[name]

    def better(self, name: str) -> bool:
        """Whether `ours` is better beyond chance, by the interval and by the swap test."""
        return (
            self.witnesses(name) >= ENOUGH and self.difference(name).low > 0 and self.chance(name, "better") <= CHANCE
        )

    def lost(self, name: str, allowed: float) -> bool:
        """Whether `ours` is worse by more than `allowed`, and worse beyond chance."""
        if self.witnesses(name) < ENOUGH:
            return False
        found = self.difference(name)
        return found.value < -allowed and found.high < 0 and self.chance(name, "worse") <= CHANCE

    def chance(self, name: str, direction: Literal["better", "worse"]) -> float:
        """The probability that two equal versions differ at least as much in this direction, in (0, 1].

        If versions are equal, each answer could be the other's. The answers of random cases or groups are swapped and
        the metric is computed again (approximate randomisation, Noreen 1989). This is exact for any number of cases and
        any metric. A bootstrap interval is too narrow for a dozen cases, and has no width for one.
        """
        if (name, direction) not in self._chances:
            sign = 1 if direction == "better" else -1
            self._chances[name, direction] = self._chance(self.members[name], sign, sign * self.difference(name).value)
        return self._chances[name, direction]

    def _chance(self, rows: Sequence[int], sign: int, value: float) -> float:
        least = value - 1e-12
        self._prime(rows)
        as_much, tried = 0, 0
        together = self._units(rows)
        for chosen in self._swaps(len(together)):
            swapped = np.zeros(len(rows), bool)
            for unit, swap in zip(together, chosen, strict=True):
                swapped[unit] = swap
            ours = [(self.theirs if swap else self.ours)[row] for row, swap in zip(rows, swapped, strict=True)]
            theirs = [(self.ours if swap else self.theirs)[row] for row, swap in zip(rows, swapped, strict=True)]
            as_much += sign * self._better(ours, theirs, rows) >= least
            tried += 1
        every = len(together) <= _ALL_SWAPS
        return as_much / tried if every else (as_much + 1) / (tried + 1)

    def rows(self, ours: Mapping[str, Score], theirs: Mapping[str, Score]) -> list[SliceRow]:
        """A row of the decision's page for each slice. Both arguments have a score for each slice."""
        found = []
        for name in self.members:
            one = self.difference(name)
            found.append(SliceRow(name, ours[name], theirs[name], one.value, one.low, one.high))
        return found

    def _groups(self, rows: Sequence[int]) -> Sequence[str]:
        return [self.groups[row] for row in rows] if any(self.groups) else [""] * len(rows)

    def _units(self, rows: Sequence[int]) -> list[NDArray[np.int64]]:
        return rows_by_group(self._groups(rows))

    def _swaps(self, count: int) -> Iterator[Sequence[bool]]:
        if count <= _ALL_SWAPS:
            yield from itertools.product((False, True), repeat=count)
        else:
            yield from np.random.default_rng(_SEED).random((self.rounds, count)) < 0.5

    def _difference(self, rows: Sequence[int]) -> Difference:
        self._prime(rows)
        ours, theirs = [self.ours[row] for row in rows], [self.theirs[row] for row in rows]
        value = self._better(ours, theirs, rows)
        samples = resamples_of(self.spec, [self.truths[row] for row in rows], self.rounds, self._groups(rows))
        drawn = [self._drawn(ours, theirs, rows, sample) for sample in samples]
        low, high = np.quantile(drawn, (0.025, 0.975))
        return Difference(value, float(low), float(high))

    def _drawn(self, ours: list[Any], theirs: list[Any], rows: Sequence[int], sample: NDArray[np.int64]) -> float:
        return self._better([ours[i] for i in sample], [theirs[i] for i in sample], [rows[i] for i in sample])

    def _better(self, ours: Sequence[Any], theirs: Sequence[Any], rows: Sequence[int]) -> float:
        truths = [self.truths[row] for row in rows]
        return self.spec.metric.better_by(self.spec.score.score(ours, truths), self.spec.score.score(theirs, truths))

    def _prime(self, rows: Sequence[int]) -> None:
        """Scores all pairs once: mAP then reuses its sorted detections for the samples."""
        truths = [self.truths[row] for row in rows]
        self.spec.score.score([self.ours[row] for row in rows] + [self.theirs[row] for row in rows], truths * 2)
