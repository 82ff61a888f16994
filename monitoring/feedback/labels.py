"""Which labels a retraining learns from, and what became of them.

A retraining uses only labels from its verdict's window. Inputs outside the plausible ranges are left out, because they
would teach the model a fault, and so are labels that could not be scored. `Feedback.origin` is the origin of the case
that a label became, or LEFT_OUT; `Feedback.learned_by` is the first version that was trained with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from monitoring.drift import diagnosis
from monitoring.feedback import performance
from registry.cases.records import LabelledInput
from registry.core import database
from registry.core.errors import BadInput

if TYPE_CHECKING:
    from monitoring.drift.tables import Window
    from monitoring.log.models import Verdict

LEFT_OUT = "left out"
"""The origin of a label that the data set did not take, e.g. because it has the input already."""
AT_ONCE = 500


def count_labels(window: Window, ranges: diagnosis.Ranges, learning: bool) -> tuple[int, int]:
    """(labels of a window that a retraining could use now, labels that were used already).

    Args:
        learning: a training of this model is running. The labels that it took count as used; without it they are left
            over from a training that failed.
    """
    broken = dict(zip(window.table.ids, diagnosis.broken_rows(window.table, ranges), strict=True))
    new = learned = 0
    for number, label in window.labels.items():
        if label.origin == LEFT_OUT or label.problem or label.score is None or broken[number]:
            continue
        done = label.learned_by is not None or (learning and label.origin)
        new, learned = new + (not done), learned + bool(done)
    return new, learned


def labels_of_window(verdict: Verdict) -> list[LabelledInput]:
    """The labelled inputs that a retraining after this verdict uses, the oldest first."""
    database.setup()
    from monitoring.log.models import Feedback

    if verdict.window_start is None:
        return []
    rows = (
        Feedback.objects.filter(
            prediction__model=verdict.model,
            prediction__version=verdict.version,
            prediction__outcome="ok",
            prediction__time__range=(verdict.window_start, verdict.window_end),
            score__isnull=False,
            problem="",
        )
        .exclude(prediction__role="shadow")
        .exclude(origin=LEFT_OUT)
        .select_related("prediction")
        .order_by("prediction__time")
    )
    ranges = verdict.finding.get("plausible", {})
    items = []
    for row in database.stream(rows, 200):
        if _plausible(row.prediction.image_statistics, ranges):
            with suppress(OSError, BadInput):  # its retention time is over, or its label is damaged
                items.append(performance.labelled(row))
    return items


def _plausible(statistics: Mapping[str, float], ranges: Mapping[str, tuple[float, float]]) -> bool:
    return all(
        low <= statistics.get(name, np.nan) <= high for name, (low, high) in ranges.items() if name in statistics
    )


def ranges_to_json(ranges: diagnosis.Ranges) -> dict[str, list[float]]:
    """As stored in `Verdict.finding["plausible"]`."""
    return {name: [low, high] for name, (low, high, _) in ranges.items()}


def note_cases(model: str, origins: Mapping[str, str], offered: Iterable[str], problems: Mapping[str, str]) -> None:
    """Records which labels became cases.

    Args:
        origins: case id -> origin, of all cases of the data set.
        offered: the predictions that were just offered to the data set.
        problems: those that it did not take -> why.
    """
    from monitoring.log.models import Feedback

    mine = Feedback.objects.filter(prediction__model=model)
    became = {number: origins.get(number, "") for number in mine.values_list("prediction_id", flat=True)}
    left = {number: LEFT_OUT for number in offered if not became.get(number)}
    by_origin: dict[str, list[str]] = {}
    for number, origin in {**became, **left}.items():
        if origin:
            by_origin.setdefault(origin, []).append(number)
    for origin, numbers in by_origin.items():
        for start in range(0, len(numbers), AT_ONCE):
            part = mine.filter(prediction_id__in=numbers[start : start + AT_ONCE])
            part.exclude(origin=origin).update(origin=origin)
    for number, why in problems.items():
        mine.filter(prediction_id=number).update(problem=why)


def unlearned(model: str) -> list[str]:
    """Origins of the cases that no version was trained with yet, the oldest first."""
    database.setup()
    from monitoring.log.models import Feedback

    rows = Feedback.objects.filter(prediction__model=model, learned_by=None).exclude(origin__in=("", LEFT_OUT))
    return list(dict.fromkeys(rows.order_by("prediction__time").values_list("origin", flat=True)))


def note_learned(model: str, origins: Iterable[str], version: int) -> None:
    """Records that a version was trained with all cases of these origins."""
    database.setup()
    from monitoring.log.models import Feedback

    mine = Feedback.objects.filter(prediction__model=model, learned_by=None, origin__in=set(origins))
    mine.exclude(origin=LEFT_OUT).update(learned_by=version)
