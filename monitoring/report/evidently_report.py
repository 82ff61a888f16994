"""The verdict's tests as a report of Evidently, and the workspace that `evidently ui` serves.

The report decides: a kind of drift alarms if Evidently's test of it fails. Importing Evidently takes eight seconds, so
it is imported only when a verdict is made.
"""

from __future__ import annotations

import fcntl
import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from monitoring.drift import statistics
from monitoring.drift.findings import Finding, Performance, Table
from monitoring.drift.statistics import Array
from monitoring.report.page import KINDS
from registry.core.files import disk_errors
from registry.core.settings import settings

if TYPE_CHECKING:
    from evidently.core.report import Snapshot
    from evidently.ui.workspace import Project, Workspace

    from registry.contract.spec import ModelSpec

MIN_LABELS = 5
_PROJECTS = uuid.UUID("5f6b1c9e-6b0e-4a57-9d0e-3f2f6d1f7c11")


@dataclass(frozen=True)
class DriftReport:
    """A report and its results. `kinds`: kind of drift -> whether Evidently's test of it failed."""

    run: Snapshot
    finding: Finding
    performance: Performance | None
    kinds: dict[str, bool]


def run_report(
    spec: ModelSpec, reference: Table, window: Table, scores: Array, alpha: float, when: datetime, **facts: str
) -> DriftReport:
    """Runs the report.

    Args:
        scores: of labelled predictions, float64 [k]; fewer than MIN_LABELS are not tested.
        alpha: the false-alarm rate of the whole verdict.
        facts: more metadata of the run.

    Raises:
        ValueError: too few rows; see `statistics.compare_distributions`.
    """
    settings().apply_environment()  # DO_NOT_TRACK, before the import
    from evidently import Report

    from monitoring.report import evidently_metrics as metrics

    statistics.check_enough(reference, window)
    window_rows, reference_rows = (
        len(window),
        {name: len(part) for name, part in statistics.reference_parts(reference).items()},
    )
    window, known = statistics.thinned(window), reference
    if len(reference_rows) == 1:  # one origin: the test thins it alike
        reference = statistics.thinned(reference)
    kinds = statistics.kinds(reference, window)
    labelled = len(scores) >= MIN_LABELS and bool(np.isfinite(known.score).any())
    if labelled:
        kinds.append("performance")
    sign = 1.0 if spec.metric.higher_is_better else -1.0
    alarm = metrics.alarm_margin(kinds, alpha, spec.budget.metric_loss, sign)
    shown = [metrics.ColumnMargin(of=alarm), *([metrics.MeanScore(of=alarm)] if labelled else [])]
    report = Report([alarm, *shown, metrics.Moved(of=alarm)], metadata={**facts, "alpha": f"{alpha:g} for the verdict"})
    more = {metrics.LABELS: metrics.labels(known, scores)} if labelled else None
    with np.errstate(all="ignore"):  # it describes constant columns
        run = report.run(metrics.dataset(window), metrics.dataset(reference), more, timestamp=when)
    found = metrics.calculation_of(run.context, alarm)
    failed = {test.bound_test.label: test.status.value == "FAIL" for test in run.metric_results[alarm.metric_id].tests}
    compared = reference_rows[found.finding.compared_with]
    finding = replace(found.finding, rows=window_rows, reference_rows=compared)
    return DriftReport(run, finding, found.performance, failed)


def save_report(judged: DriftReport, model: str, title: str, html: Path | None) -> str:
    """Adds the run to the model's project in the workspace, and writes it to `html`; returns the project's id.

    Raises:
        StorageError: the disk is full.
    """
    from evidently.ui.workspace import Workspace

    folder = workspace()
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # monitors of several models may end at the same time
            home = Workspace.create(str(folder))
            project = _project(home, model)
            home.add_run(project.id, judged.run, include_data=False, name=title)
        if html is not None:
            judged.run.save_html(str(html))
    return str(project.id)


def workspace() -> Path:
    """The folder to give to `evidently ui --workspace`."""
    return settings().var / "evidently"


def _project(home: Workspace, model: str) -> Project:
    """The model's project. Its id is derived from the name, so that two processes do not make two."""
    from evidently.sdk.models import PanelMetric, ProjectModel
    from evidently.sdk.panels import line_plot_panel

    identity = uuid.uuid5(_PROJECTS, model)
    found = home.get_project(identity)
    if found is not None:
        return found
    project = home.add_project(ProjectModel(id=identity, name=model, description=f"Drift verdicts of {model}"))
    margins = [
        PanelMetric(legend=legend, metric="AlarmMargin", metric_labels={"label": kind})
        for kind, legend in KINDS.items()
    ]
    about = "Each verdict's tests: statistic / threshold. Above 1 is an alarm."
    project.dashboard.add_panel(line_plot_panel("Nearness to an alarm", margins, about))
    scores = [PanelMetric(legend="mean score", metric="MeanScore")]
    project.dashboard.add_panel(line_plot_panel("Score of labelled predictions", scores, "That no report asked for."))
    return project
