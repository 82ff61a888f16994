"""Makes a verdict: reads a window of predictions, runs Evidently's report, diagnoses, writes the page.

It takes well under a second, plus eight seconds the first time in a process, for importing Evidently.
"""

from __future__ import annotations

import logging
import time
import uuid
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from monitoring.drift import diagnosis, statistics, tables
from monitoring.drift.findings import Table
from monitoring.drift.tables import Window
from monitoring.drift.verdict import Verdict
from monitoring.feedback import labels
from monitoring.feedback import performance as feedback
from monitoring.log import inputs
from monitoring.report import evidently_report, page
from monitoring.report.evidently_report import DriftReport
from registry.contract import catalog
from registry.core import database
from registry.core.errors import VisionloopError
from registry.core.files import new_folder
from registry.core.settings import settings
from registry.versions.bundle import Bundle
from registry.versions.predictor import Predictor

logger = logging.getLogger("visionloop.watch")

SHOWN = 6
RESPONSIBLE = 24


def make_verdict(
    model: str,
    version: int,
    bundle: Bundle,
    *,
    last: int | None = None,
    since: float | None = None,
    learning: bool = False,
) -> Verdict:
    """Compares predictions of a version with its bundle's reference, and stores the verdict with its page.

    Args:
        last: use at most this many predictions (default: 200, if `since` is not given either).
        since: use predictions from this unix time on.
        learning: a training of this model is running, so the labels that it took are not asked for again.

    Raises:
        BundleError: the bundle has no usable reference.
        StorageError: the disk is full; no verdict is stored.
    """
    database.setup()
    reference = tables.read_reference(bundle)
    predictor = Predictor(bundle, settings().threads, settings().max_voxels)
    feedback.score_pending(model, version, predictor)
    window = tables.read_window(model, version, last=last, since=since)
    verdict, judged = _judge(model, version, reference, window, learning)
    finding = judged.finding if judged else None
    part = statistics.reference_parts(reference).get(finding.compared_with, reference) if finding else reference
    order = statistics.most_responsible(reference, window.table, finding) if finding else np.arange(0)
    responsible = tuple(window.table.ids[i] for i in order[:RESPONSIBLE])
    folder = settings().var / "reports" / model / verdict.id
    verdict = Verdict(**{**verdict.__dict__, "responsible": responsible, "folder": folder})
    with new_folder(folder) as draft:
        page.write_page(
            draft,
            verdict,
            reference=part,
            window=statistics.thinned(window.table),
            finding=finding,
            performance=judged.performance if judged else None,
            responsible=page.draw(predictor, _responsible_inputs(window, responsible)),
            known=page.draw(predictor, _golden_samples(bundle)),
            evidently=bool(judged) and _keep_report(judged, verdict, draft),
        )
        (draft / "verdict.json").write_text(verdict.to_json(), encoding="utf-8")
    _store(verdict, window)
    return verdict


def _judge(
    model: str, version: int, reference: Table, window: Window, learning: bool
) -> tuple[Verdict, DriftReport | None]:
    spec, alpha, now = catalog.get(model), settings().false_alarm_rate, time.time()
    identity, judged = uuid.uuid4().hex[:12], None
    if statistics.is_enough(reference, window.table):
        when = datetime.fromtimestamp(now, UTC)
        facts = {"verdict": identity, "version": str(version)}
        judged = evidently_report.run_report(spec, reference, window.table, window.sampled_scores, alpha, when, **facts)
    finding, performance = (judged.finding, judged.performance) if judged else (None, None)
    ranges = diagnosis.ranges_that_apply(reference, spec.inference.PLAUSIBLE)
    broken = diagnosis.broken_shares(window.table, ranges)
    new, learned = labels.count_labels(window, ranges, learning)
    kinds = {"performance": False, **(judged.kinds if judged else {})}
    diagnosed = diagnosis.diagnose(
        diagnosis.Situation(
            kinds,
            finding,
            performance,
            broken,
            window.errors,
            window.total,
            new,
            _age(model, version, window),
            learned,
            len(reference),
        )
    )
    verdict = Verdict(
        id=identity,
        time=now,
        model=model,
        version=version,
        predictions=len(window.rows),
        errors=sum(window.errors.values()),
        labels=window.labelled,
        drifted=any(kinds.values()) or diagnosed.action == "bad_input",
        kinds=kinds,
        action=diagnosed.action,
        why=diagnosed.why,
        scores={
            "distributions": finding.to_json() if finding else {},
            "performance": asdict(performance) if performance else {},
            "broken": broken,
            "plausible": labels.ranges_to_json(ranges),
            "labels": {"new": new, "learned": learned, "sampled": len(window.sampled_scores)},
        },
        unwatched=dict(finding.unwatched) if finding else {},
    )
    return verdict, judged


def _age(model: str, version: int, window: Window) -> float | None:
    """Seconds from the version's first prediction to the end of the window; None if no other version served before."""
    from monitoring.log.models import Prediction

    mine = (
        Prediction.objects.filter(model=model, version=version).order_by("time").values_list("time", flat=True).first()
    )
    if mine is None or not window.rows:
        return None
    earlier = Prediction.objects.filter(model=model, time__lt=mine).exclude(version=version).exists()
    return (window.rows[-1].time - mine).total_seconds() if earlier else None


def _keep_report(judged: DriftReport | None, verdict: Verdict, folder: Path) -> bool:
    """Adds Evidently's report to its workspace, and writes it beside a verdict that drifted (4 MB). Returns whether it
    did the latter."""
    assert judged is not None
    title = f"version {verdict.version}, {datetime.fromtimestamp(verdict.time, UTC):%Y-%m-%d %H:%M}: {verdict.action}"
    try:
        html = folder / "report.html" if verdict.drifted else None
        evidently_report.save_report(judged, verdict.model, title, html)
    except VisionloopError:
        raise
    except Exception:  # the report has decided; a verdict must not fail because it could not be kept
        logger.exception("Evidently's report could not be kept; the verdict stands")
        return False
    return verdict.drifted


def _responsible_inputs(window: Window, responsible: tuple[str, ...]) -> list[page.PageContent]:
    from monitoring.log.models import Feedback

    rows = {row.id: row for row in window.rows}
    given = {f.prediction_id: f for f in Feedback.objects.filter(prediction_id__in=responsible)}
    shown = []
    for number in responsible:
        try:
            body = inputs.read(feedback.input_file(rows[number]))
            label = given.get(number)
            truth = inputs.read(settings().var / label.truth_file) if label and label.truth_file else None
        except OSError:
            continue  # no longer kept
        except VisionloopError as error:
            logger.warning("a report does without a picture: %s", error)
            continue
        score = f", score {label.score:.2f}" if label and label.score is not None else ""
        shown.append(page.PageContent(body, truth, f"{rows[number].time:%H:%M:%S}{score}, prediction {number[:8]}"))
        if len(shown) == SHOWN:
            break
    return shown


def _golden_samples(bundle: Bundle) -> list[page.PageContent]:
    return [page.PageContent((path / "input").read_bytes(), None, path.name) for path in bundle.samples[:4]]


def _store(verdict: Verdict, window: Window) -> None:
    from monitoring.log import models

    models.Verdict.objects.create(
        id=verdict.id,
        time=datetime.fromtimestamp(verdict.time, UTC),
        model=verdict.model,
        version=verdict.version,
        window_start=window.rows[0].time if window.rows else None,
        window_end=window.rows[-1].time if window.rows else None,
        predictions=verdict.predictions,
        labels=verdict.labels,
        drifted=verdict.drifted,
        action=verdict.action,
        why=verdict.why,
        kinds=verdict.kinds,
        finding=verdict.scores,
        responsible=list(verdict.responsible),
        folder=str(verdict.folder.relative_to(settings().var)),
    )
