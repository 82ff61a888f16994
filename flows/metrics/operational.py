"""Figures of the operational database, by model: scores of labels, drift, what waits for labels, trainings, tasks."""

from __future__ import annotations

import json
import logging
import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric

from registry.contract import catalog
from registry.core import database
from registry.core.settings import Settings
from serving.operations import documents

logger = logging.getLogger("visionloop.metrics")

LAST = timedelta(days=7)
"""How far back labels count: by the time of the label."""
ACTIONS = ("none", "bad_input", "label", "retrain", "roll_back")
LABELS_EVERY_S = 60.0
"""How often the labels are read: with many it takes longer than all the rest."""
AT_ONCE = 2000
MODEL = ("model",)
VERSION = ("model", "version")


class Table(GaugeMetricFamily):
    """A gauge named `visionloop_...`."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...] = ()) -> None:
        super().__init__(f"visionloop_{name}", text, labels=labels)

    def set(self, value: float, *labels: object) -> None:
        self.add_metric([str(one) for one in labels], float(value))


class Figures:
    """Reads all of it. For one thread, which keeps its connection."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._labels: list[Metric] = []
        self._labels_at = -math.inf

    def read(self) -> list[Metric]:
        """`visionloop_database_up` is 0, and the database's figures are missing, where it is away."""
        try:
            database.setup(self._settings)
            database.renew_connection()
            if time.monotonic() - self._labels_at > LABELS_EVERY_S:
                self._labels, self._labels_at = [*_labels()], time.monotonic()
            return [*_up(True), *_decisions(self._settings), *_size(), *self._labels, *_drift(), *_waiting()]
        except Exception as error:
            logger.info("the database's figures are missing: %s", error)
            database.close_connection()
            return self.away()

    def away(self) -> list[Metric]:
        """What can be told without the database."""
        return [*_up(False), *_decisions(self._settings)]


def _up(up: bool) -> Iterator[Metric]:
    found = Table("database_up", "1 while the operational database answers")
    found.set(up)
    yield found


def _size() -> Iterator[Metric]:
    from django.db import connection

    size = Table("database_bytes", "Size of the operational database, what it writes ahead too")
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_database_size(current_database())")
            size.set(cursor.fetchone()[0])
    else:
        file = Path(connection.settings_dict["NAME"])
        size.set(sum(one.stat().st_size for one in (file, Path(f"{file}-wal")) if one.exists()))
    yield size


def _labels() -> Iterator[Metric]:
    """Added up here: a database that is asked for sums by model reads all predictions, and not those with a label."""
    from monitoring.log.models import Feedback

    score = Table("feedback_score", "Mean score of labelled predictions; labels of the last 7 days", VERSION)
    count = Table("feedback_labels", "Labels of the last 7 days", VERSION)
    unscored = Table("feedback_unscored", "Labels that cannot be scored, of the last 7 days", MODEL)
    unlearned = Table("labels_unlearned", "Labels that no version was trained with yet", MODEL)
    scores: dict[tuple[str, int], list[float | None]] = defaultdict(list)
    problems = Counter[str]()
    recent = Feedback.objects.filter(time__gte=datetime.now(UTC) - LAST).order_by()
    columns = ("prediction__model", "prediction__version", "score", "problem")
    for model, version, value, problem in database.stream(recent.values_list(*columns), AT_ONCE):
        scores[model, version].append(value)
        problems[model] += bool(problem)
    for labels, values in scores.items():
        known = [value for value in values if value is not None]
        count.set(len(values), *labels)
        if known:
            score.set(sum(known) / len(known), *labels)
    waiting = Feedback.objects.filter(learned_by=None, problem="").order_by()
    waits = Counter(database.stream(waiting.values_list("prediction__model", flat=True), AT_ONCE))
    for model in catalog.names():
        unscored.set(problems[model], model)
        unlearned.set(waits[model], model)
    yield from (score, count, unscored, unlearned)


def _drift() -> Iterator[Metric]:
    """Of each model's latest verdict."""
    from monitoring.log.models import Feedback, Verdict

    drifted = Table("drift", "1 where the latest verdict is that it drifted", VERSION)
    when = Table("drift_verdict_time_seconds", "When the latest verdict was made, unix time", VERSION)
    window = Table("drift_window_predictions", "Predictions that the latest verdict looked at", VERSION)
    action = Table("drift_action", "1 for what the latest verdict asks for", (*VERSION, "action"))
    score = Table("drift_score", "Largest statistic by its threshold; above 1 it alarms", (*VERSION, "kind"))
    queue = Table("label_queue", "Predictions that the latest verdict holds responsible, without a label", MODEL)
    for model in catalog.names():
        latest = Verdict.objects.filter(model=model).order_by("-time").first()
        if latest is None:
            queue.set(0, model)
            continue
        drifted.set(latest.drifted, model, latest.version)
        when.set(latest.time.timestamp(), model, latest.version)
        window.set(latest.predictions, model, latest.version)
        for one in ACTIONS:
            action.set(one == latest.action, model, latest.version, one)
        for kind, value in _scores(latest.finding).items():
            score.set(value, model, latest.version, kind)
        responsible = set(latest.responsible) if latest.drifted else set()
        labelled = Feedback.objects.filter(prediction_id__in=responsible).count()
        queue.set(len(responsible) - labelled, model)
    yield from (drifted, when, window, action, score, queue)


def _scores(finding: Mapping[str, Any]) -> dict[str, float]:
    """Kind of test -> its largest statistic as a share of the threshold."""
    found: dict[str, float] = {}
    for test in (finding.get("distributions") or {}).get("tests", ()):
        if test["threshold"] > 0:
            found[test["kind"]] = max(found.get(test["kind"], 0.0), test["statistic"] / test["threshold"])
    return found


def _waiting() -> Iterator[Metric]:
    from django.db.models import Count

    from serving.tasks.models import Task
    from serving.webhooks.models import Delivery

    tasks = Table("tasks", "Tasks that are not over", (*MODEL, "state"))
    counts = Task.objects.filter(state__in=("queued", "running")).order_by().values_list("model", "state")
    found = {(model, state): count for model, state, count in counts.annotate(Count("pk"))}
    for model in catalog.names():
        for state in ("queued", "running"):
            tasks.set(found.get((model, state), 0), model, state)
    webhooks = Table("webhooks_waiting", "Webhooks that are not delivered yet")
    webhooks.set(Delivery.objects.filter(outcome="").count())
    yield from (tasks, webhooks)


def _decisions(settings: Settings) -> Iterator[Metric]:
    """The gate's latest decision ends the latest training; it is a file, so it shows without a database, too."""
    when = Table("training_decided_time_seconds", "When the gate decided on the latest training, unix time", MODEL)
    granted = Table("training_granted", "1 where that training's version was promoted", MODEL)
    number = Table("training_version", "Number of that version", MODEL)
    for model in catalog.names():
        for decided, page in documents.pages(settings.var, "decisions", model, 1):
            when.set(decided, model)
            with suppress(OSError, ValueError, KeyError, TypeError):
                facts = json.loads(documents.beside("decisions", page).read_text(encoding="utf-8"))
                granted.set(bool(facts["granted"]), model)
                number.set(int(facts["challenger"]), model)
    yield from (when, granted, number)
