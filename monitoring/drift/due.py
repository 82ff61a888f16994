"""Whether a verdict is due. Without new predictions it would only repeat the last one, false alarms included."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from monitoring.drift.statistics import MIN_WINDOW
from monitoring.drift.tables import DEFAULT_LAST
from registry.core import database

AT_LEAST_EVERY = timedelta(days=1)
"""A verdict is due after this time in any case, if there are MIN_WINDOW new predictions."""


def pending_reason(model: str, version: int, now: datetime | None = None) -> str:
    """What the next verdict of this version waits for, in words; "" if it is due.

    It is due when half of its predictions are new since the last verdict, when a label came, or after a day with enough
    new predictions to judge.
    """
    database.setup()
    from monitoring.log.models import Feedback, Prediction, Verdict

    last = Verdict.objects.filter(model=model, version=version).order_by("-time").first()
    if last is None:
        return ""
    if Feedback.objects.filter(prediction__model=model, prediction__version=version, time__gt=last.time).exists():
        return ""
    mine = Prediction.objects.filter(model=model, version=version).exclude(role="shadow")
    fresh = mine.filter(time__gt=last.window_end).count() if last.window_end else mine[:DEFAULT_LAST].count()
    half = min(DEFAULT_LAST, mine[:DEFAULT_LAST].count()) / 2
    aged = (now or datetime.now(UTC)) - last.time >= AT_LEAST_EVERY
    if fresh >= max(half, 1) or (aged and fresh >= MIN_WINDOW):
        return ""
    seen = f"verdict {last.id} of {last.time:%Y-%m-%d %H:%M} UTC"
    return f"{fresh or 'no'} new predictions and no new labels since {seen}; the next one is due after {half:.0f}"
