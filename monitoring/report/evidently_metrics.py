"""The monitor's tests as metrics of Evidently. Importing this module imports Evidently: eight seconds.

Evidently's own drift metrics alarm too often on windows of this size and know neither our origins nor a threshold that
holds for all columns together, so the statistics are ours (monitoring.drift.statistics). What decides is Evidently's
test of each
margin: a margin is a statistic in units of its calibrated threshold, and may be 1 at most.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset
from evidently.core.container import MetricContainer, MetricOrContainer
from evidently.core.metric_types import (
    ByLabelCalculation,
    ByLabelMetric,
    ByLabelValue,
    SingleValueCalculation,
    SingleValueMetric,
)
from evidently.core.report import Context
from evidently.presets import ValueStats
from evidently.tests import lte

from monitoring.drift import findings, statistics
from monitoring.drift.findings import Finding, Performance, Table
from monitoring.drift.permutation import Array

EMBEDDING = "embedding."
LABELS = "labels"
SHOWN = 6
"""How many of the statistics that drifted have their distributions drawn."""


def dataset(table: Table) -> Dataset:
    """A table in Evidently's form: one column for each statistic and each number of the embedding."""
    names = list(table.columns)
    vectors = [f"{EMBEDDING}{n}" for n in range(table.embedding.shape[1])]
    frame = pd.DataFrame(table.columns, columns=names)
    frame = pd.concat([frame, pd.DataFrame(table.embedding, columns=vectors)], axis=1)
    frame["origin"] = list(table.origin) or "window"
    definition = DataDefinition(numerical_columns=names, categorical_columns=["origin"])
    return Dataset.from_pandas(frame, definition)


def _table(given: Dataset) -> Table:
    frame = given.as_dataframe()
    vectors = [name for name in frame.columns if name.startswith(EMBEDDING)]
    names = [name for name in frame.columns if name not in {*vectors, "origin"}]
    return Table(
        ids=tuple(map(str, frame.index)),
        columns={name: frame[name].to_numpy(np.float64) for name in names},
        embedding=frame[vectors].to_numpy(np.float32),
        origin=tuple(frame["origin"].astype(str)),
    )


def labels(reference: Table, scores: Array) -> Dataset:
    """Scores of the reference, with their origins, and of labelled predictions, without."""
    known = np.isfinite(reference.score)
    origins = [origin for origin, one in zip(reference.origin, known, strict=True) if one]
    frame = pd.DataFrame({"score": [*reference.score[known], *scores], "origin": [*origins, *[""] * len(scores)]})
    return Dataset.from_pandas(frame, DataDefinition(numerical_columns=["score"], categorical_columns=["origin"]))


def _scores(context: Context, origin: str | None) -> Array:
    """Of the window (None), of an origin, or of all of the reference."""
    frame = context.additional_data[LABELS].as_dataframe()
    mine = frame["origin"].astype(str)
    rows = mine == "" if origin is None else mine != "" if origin == findings.ALL else mine == origin
    return frame.loc[rows, "score"].to_numpy(np.float64)


class AlarmMargin(ByLabelMetric):  # type: ignore[misc]
    """How near each kind of drift is to an alarm: statistic / threshold, an alarm above 1.

    Attributes:
        alpha: the false-alarm rate of the whole verdict.
        tolerance: a loss of the metric up to this does not count.
        sign: 1 where a higher score is better, else -1.
    """

    alpha: float
    tolerance: float
    sign: float


class AlarmMarginCalculation(ByLabelCalculation[AlarmMargin]):
    """The margins, with the whole finding, because the page shows more than margins."""

    finding: Finding
    performance: Performance | None = None

    def calculate(self, context: Context, current_data: Dataset, reference_data: Dataset | None) -> ByLabelValue:
        assert reference_data is not None
        metric = self.metric
        self.finding = statistics.compare_distributions(_table(reference_data), _table(current_data), metric.alpha)
        margins = {test.kind: test.margin for test in self.finding.tests}
        if LABELS in context.additional_data:
            window, expected = (_scores(context, origin) for origin in (None, self.finding.compared_with))
            if len(expected):
                scores = (metric.sign * expected, metric.sign * window)
                self.performance = statistics.compare_scores(*scores, metric.alpha, metric.tolerance)
                margins["performance"] = self.performance.margin
        return self.result(margins)

    def display_name(self) -> str:
        return "Nearness to an alarm: statistic / threshold"


def alarm_margin(kinds: list[str], alpha: float, tolerance: float, sign: float) -> AlarmMargin:
    """The metric, with Evidently's test that each kind is at most 1."""
    return AlarmMargin(alpha=alpha, tolerance=tolerance, sign=sign, tests={kind: [lte(1.0)] for kind in kinds})


class ColumnMargin(ByLabelMetric):  # type: ignore[misc]
    """The distance of each statistic / the threshold that its kind shares."""

    of: AlarmMargin


class ColumnMarginCalculation(ByLabelCalculation[ColumnMargin]):
    def calculate(self, context: Context, current_data: Dataset, reference_data: Dataset | None) -> ByLabelValue:
        finding = finding_of(context, self.metric.of)
        margins = {c.name: c.distance / max(test.threshold, 1e-9) for test in finding.tests for c in test.columns}
        return self.result(margins)

    def display_name(self) -> str:
        return "Each statistic: distance / threshold"


class MeanScore(SingleValueMetric):  # type: ignore[misc]
    """Mean score of the labelled predictions that no report asked for."""

    of: AlarmMargin


class MeanScoreCalculation(SingleValueCalculation[MeanScore]):
    def calculate(self, context: Context, current_data: Dataset, reference_data: Dataset | None) -> Any:
        origin = finding_of(context, self.metric.of).compared_with
        mine, expected = (self.result(float(_scores(context, one).mean())) for one in (None, origin))
        return mine, expected

    def display_name(self) -> str:
        return "Mean score of labelled predictions"


class Moved(MetricContainer):  # type: ignore[misc]
    """Evidently's own statistics of what drifted, with the distributions of window and reference."""

    of: AlarmMargin

    def generate_metrics(self, context: Context) -> list[MetricOrContainer]:
        moved = [c for test in finding_of(context, self.of).tests for c in test.columns if c.drifted]
        moved.sort(key=lambda column: -column.shift)
        return [ValueStats(column=column.name) for column in moved[:SHOWN]]


def finding_of(context: Context, metric: AlarmMargin) -> Finding:
    return calculation_of(context, metric).finding


def calculation_of(context: Context, metric: AlarmMargin) -> AlarmMarginCalculation:
    """The calculation behind the first metric of a report."""
    return cast(AlarmMarginCalculation, context.get_metric(metric.metric_id))
