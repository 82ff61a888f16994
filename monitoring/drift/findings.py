"""The tables that a drift test compares, and what it finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring.drift.permutation import Array
from registry.core.media import FloatArray

IMAGE, PREDICTION = "image.", "prediction."
ALL = "all"
"""In the place of an origin: all of the reference together."""
MIN_REFERENCE = 5
"""A reference of fewer rows is not compared with."""


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of the reference or of a window.

    Attributes:
        ids: case or prediction ids, n of them.
        columns: name with its prefix (`image.noise`, `prediction.confidence`) -> float64 [n].
        embedding: float32 [n, D]; D is 0 if there are none.
        origin: where each row came from, n of them.
        score: float64 [n], NaN where no label is known.
    """

    ids: tuple[str, ...]
    columns: dict[str, Array]
    embedding: FloatArray
    origin: tuple[str, ...] = ()
    score: Array = field(default_factory=lambda: np.zeros(0))

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Sequence[int] | NDArray[np.intp]) -> Table:
        index = np.asarray(rows, dtype=np.intp)
        return Table(
            ids=tuple(self.ids[i] for i in index),
            columns={name: values[index] for name, values in self.columns.items()},
            embedding=self.embedding[index],
            origin=tuple(self.origin[i] for i in index) if self.origin else (),
            score=self.score[index] if len(self.score) else self.score,
        )


@dataclass(frozen=True)
class Column:
    """One statistic. Quantiles are the 5th, 50th and 95th percentile."""

    name: str
    distance: float
    drifted: bool
    reference: tuple[float, float, float]
    window: tuple[float, float, float]

    @property
    def shift(self) -> float:
        """How far the median moved, in widths of the reference's 5-95 % range."""
        low, middle, high = self.reference
        return abs(self.window[1] - middle) / max(high - low, 1e-9)


@dataclass(frozen=True)
class Test:
    """One test. It alarms where `statistic` exceeds `threshold`, that is where `p` is at most `level`."""

    kind: str
    statistic: float
    threshold: float
    p: float
    level: float
    columns: tuple[Column, ...] = ()

    @property
    def drifted(self) -> bool:
        return self.p <= self.level

    @property
    def margin(self) -> float:
        """How far above its threshold; 1 is just at it."""
        return self.statistic / self.threshold if self.threshold > 0 else float(self.statistic > 0)


@dataclass(frozen=True)
class Performance:
    """Mean score of labelled predictions against the reference; `low` and `high` bound the difference (95 %)."""

    labels: int
    reference: float
    window: float
    low: float
    high: float
    p: float
    level: float
    tolerance: float
    threshold: float

    @property
    def drifted(self) -> bool:
        return self.margin > 1

    @property
    def margin(self) -> float:
        """The loss, as a share of what it has to exceed to alarm: chance (`threshold`), and the tolerance."""
        return (self.reference - self.window) / max(self.threshold, self.tolerance, 1e-12)


@dataclass(frozen=True)
class Finding:
    """What the tests of distributions say.

    Attributes:
        compared_with: the origin that fits best, or "all".
        unwatched: statistic -> why no test looks at it.
    """

    rows: int
    reference_rows: int
    compared_with: str
    tests: tuple[Test, ...]
    alpha: float
    permutations: int
    unwatched: dict[str, str] = field(default_factory=dict)

    @property
    def drifted(self) -> bool:
        return any(test.drifted for test in self.tests)

    def test(self, kind: str) -> Test | None:
        return next((test for test in self.tests if test.kind == kind), None)

    def to_json(self) -> dict[str, Any]:
        tests = [{**asdict(test), "drifted": test.drifted} for test in self.tests]
        return {**asdict(self), "tests": tests, "drifted": self.drifted}
