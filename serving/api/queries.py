"""What the typed routes ask of the tables. All of it waits for the database: call it in a thread."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime

from monitoring.feedback import performance as labels
from monitoring.log.models import Feedback as Label
from monitoring.log.models import Prediction as Row
from registry.core.settings import settings
from serving.access import report
from serving.access.control import Access, Admitted
from serving.access.keys import ApiKey
from serving.access.usage import UsageCounts, UsageKey, are_written
from serving.client.schemas import Feedback, LoggedPrediction, Quota, UsageReport, UsageRow

logger = logging.getLogger("visionloop.public")


def find(prediction_id: str) -> Row | None:
    """The prediction with its feedback."""
    return Row.objects.select_related("feedback").filter(id=prediction_id).first()


def may_see(row: Row, caller: str, grant: ApiKey | None) -> bool:
    """Own predictions, and all of its models with the action admin."""
    if grant is not None and grant.may("admin"):
        return grant.reaches(row.model)
    return bool(row.caller == caller)


def described(row: Row) -> LoggedPrediction:
    given: Label | None = getattr(row, "feedback", None)
    return LoggedPrediction(
        id=row.id,
        model=row.model,
        version=row.version,
        role=row.role,
        time=row.time,
        caller=row.caller,
        elapsed_ms=round(row.latency_ms, 3),
        outcome=row.outcome,
        status=row.status,
        image_statistics=row.image_statistics,
        prediction_statistics=row.prediction_statistics,
        input_kept=labels.input_file(row).is_file(),
        feedback=given
        and Feedback(
            time=given.time,
            source=given.source,
            label=given.truth_text or None,
            score=given.score,
            # Rows from before 2026-12 may name a file of this machine.
            problem="the input or the label is no longer kept" if given.problem.startswith("[Errno") else given.problem,
        ),
    )


def label(row: Row, truth: str | bytes, source: str) -> bool:
    """Stores the truth of a prediction; returns whether there was one before.

    Raises:
        BadInput, Refused: as `monitoring.feedback.performance.give`.
    """
    before = Label.objects.filter(prediction_id=row.id).exists()
    labels.give(row.id, truth, source)
    return before


def usage(admitted: Admitted, access: Access, first: date, last: date) -> UsageReport:
    """What a key, or with admin everyone, asked from the first to the last day, both included.

    An admin of some models sees of other keys what they asked of those.
    """
    grant = admitted.grant
    only = None if grant is not None and grant.may("admin") else admitted.key
    sums = _sums(access, first, last, only)
    rows = [
        UsageRow(
            day=date.fromisoformat(slot.day),
            key=f"vl_{slot.key}" if slot.key else "",
            model=slot.model,
            requests=counts.requests,
            errors=counts.errors,
            refused=counts.refused,
            bytes_in=counts.bytes_in,
            bytes_out=counts.bytes_out,
            elapsed_ms=round(counts.milliseconds, 3),
        )
        for slot, counts in sorted(sums.items(), key=lambda one: (one[0].day, one[0].key, one[0].model))
        if grant is None or slot.key == admitted.key or grant.reaches(slot.model)
    ]
    return UsageReport(since=first, until=last, quota=_quota(grant, access) if grant else None, rows=rows)


def _sums(access: Access, first: date, last: date, only: str | None) -> dict[UsageKey, UsageCounts]:
    """What the table has, and of this router what it has not yet: each count once, whenever it is flushed."""
    flushes = access.meter.unflushed()
    while True:
        before = are_written(flushes)
        lines = report.lines(first, last, only)
        if are_written(flushes) == before:  # so the lines are of a time at which just these were in them
            break
    sums: dict[UsageKey, UsageCounts] = {}
    for line in lines:
        slot = UsageKey(line.key.removeprefix("vl_"), line.model, line.day.isoformat())
        sums[slot] = UsageCounts(
            line.requests, line.errors, line.refused, line.bytes_in, line.bytes_out, milliseconds=line.elapsed_ms
        )
    for flush in flushes:
        for slot, counts in flush.counts.items() if flush.id not in before else ():
            if only in (None, slot.key) and first.isoformat() <= slot.day <= last.isoformat():
                sums.setdefault(slot, UsageCounts()).add(counts)
    return sums


def _quota(grant: ApiKey, access: Access) -> Quota:
    config = settings()
    per_minute = config.quota_per_minute if grant.per_minute is None else grant.per_minute
    per_month = config.quota_per_month if grant.per_month is None else grant.per_month
    return Quota(
        per_minute=per_minute or None,
        per_month=per_month or None,
        used_this_month=access.meter.month(grant.id, datetime.now(UTC)),
    )
