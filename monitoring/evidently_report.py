"""Evidently's own report of a comparison, and its place in the workspace that `evidently ui` serves.

Importing Evidently takes about eight seconds, so only this module does, when a report is written. Every column is
judged by our distance and our calibrated threshold: Evidently's defaults alarm too often on windows of this size.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from monitoring.drift import Finding, Table
from registry.files import disk_errors
from registry.settings import settings

if TYPE_CHECKING:
    import pandas as pd

METHOD = "visionloop_ks"
_lock = threading.Lock()


def workspace() -> Path:
    """The folder to give to `evidently ui --workspace`."""
    return settings().var / "evidently"


def write(
    model: str, title: str, reference: Table, window: Table, finding: Finding, facts: Mapping[str, str], html: Path
) -> str:
    """Writes `html` and adds the run to the model's project; returns the project's id.

    Args:
        reference: the part of the reference that the finding compares with.
        facts: what else the run should carry: version, verdict id, action.

    Raises:
        StorageError: the disk is full.
    """
    settings().apply_environment()  # DO_NOT_TRACK, before the import
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import DriftedColumnsCount, ValueDrift

    with _lock:
        _register()
    thresholds = {c.name: test.threshold for test in finding.tests for c in test.columns}
    columns = [(c.drifted, c.shift, c.name) for test in finding.tests for c in test.columns]
    names = [name for _, _, name in sorted(columns, reverse=True)]
    definition = DataDefinition(numerical_columns=names)
    whole = DriftedColumnsCount(
        columns=names, num_method=METHOD, per_column_threshold=thresholds, drift_share=1 / max(len(names), 1)
    )
    metrics = [whole, *(ValueDrift(column=name, method=METHOD, threshold=thresholds[name]) for name in names)]
    report = Report(metrics, metadata=dict(facts), tags=[str(facts.get("action", ""))])
    current, known = (Dataset.from_pandas(_frame(table, names), definition) for table in (window, reference))
    with np.errstate(all="ignore"):  # it correlates constant columns
        run = report.run(current, known, name=title)
    with disk_errors(html):
        run.save_html(str(html))
        return _add_to_workspace(model, run, title)


def _register() -> None:
    from evidently.legacy.calculations.stattests import registry
    from evidently.legacy.core import ColumnType
    from scipy.stats import ks_2samp

    if METHOD in registry._registered_stat_tests:
        return
    test = registry.StatTest(
        name=METHOD,
        display_name="Kolmogorov-Smirnov distance, threshold calibrated on the reference",
        allowed_feature_types=[ColumnType.Numerical],
        default_threshold=1.0,
    )

    def distance(reference: pd.Series, current: pd.Series, _: object, threshold: float) -> tuple[float, bool]:
        value = round(float(ks_2samp(reference, current, method="asymp").statistic), 6)
        return value, value > threshold

    registry.register_stattest(test, distance)


def _add_to_workspace(model: str, run: object, title: str) -> str:
    from evidently.ui.workspace import Workspace

    home = Workspace.create(str(workspace()))
    known = [project for project in home.search_project(model) if project.name == model]
    project = known[0] if known else home.create_project(model, description=f"Drift verdicts of {model}")
    home.add_run(project.id, run, include_data=False, name=title)  # type: ignore[arg-type]
    return str(project.id)


def _frame(table: Table, names: list[str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({name: table.columns[name] for name in names})
