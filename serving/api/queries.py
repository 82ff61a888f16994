"""The queries of the typed routes. They wait for the database: call them in a thread."""

from __future__ import annotations

from datetime import UTC, date, datetime

from monitoring.feedback import erasure
from monitoring.feedback import performance as labels
from monitoring.log import answers
from monitoring.log.models import Feedback as Label
from monitoring.log.models import Prediction as Row
from serving.access import report
from serving.access.control import Access, AdmittedRequest, limits_of
from serving.access.keys import ApiKey
from serving.access.usage import UsageCounts, UsageKey, are_written
from serving.client.key_schemas import Caller, KeyDescription, Quota, UsageReport
from serving.client.schemas import Deletion, Feedback, LoggedPrediction
from serving.idempotency import store as keyed_requests


def find(prediction_id: str) -> Row | None:
    """A prediction with its answer and feedback."""
    return Row.objects.select_related("feedback", "answer").filter(id=prediction_id).first()


def may_see(row: Row, caller: str, api_key: ApiKey | None) -> bool:
    """Whether the caller may see a prediction: its own, or with the action admin those of its models."""
    if api_key is not None and api_key.may("admin"):
        return api_key.reaches(row.model)
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
        answer=answers.of(row),
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


def delete(row: Row) -> Deletion:
    """Deletes all that is kept of a prediction, and says what there was."""
    number, caller = row.id, row.caller
    erased = erasure.erase(row)
    keyed_requests.forget(caller, number)
    return Deletion(
        id=number, input=erased.input, answer=erased.answer, label=erased.label, case=erased.case_origin or None
    )


def label(row: Row, truth: str | bytes, source: str) -> bool:
    """Stores the label of a prediction; returns whether there was one before.

    Raises:
        BadInput, Refused: as `monitoring.feedback.performance.give_label`.
    """
    before = Label.objects.filter(prediction_id=row.id).exists()
    labels.give_label(row.id, truth, source)
    return before


def usage(admitted: AdmittedRequest, access: Access, first: date, last: date) -> UsageReport:
    """The usage of a key, or with the action admin of all keys, from the first to the last day, both included.

    A key with admin for some models sees other keys' usage of these models only.
    """
    api_key = admitted.api_key
    only = None if api_key is not None and api_key.may("admin") else admitted.key_id
    sums = _sums(access, first, last, only)
    rows = [
        report.row_of(slot, counts)
        for slot, counts in sorted(sums.items(), key=lambda one: (one[0].day, one[0].key, one[0].model))
        if api_key is None or slot.key == admitted.key_id or api_key.reaches(slot.model)
    ]
    return UsageReport(since=first, until=last, quota=_quota(api_key, access) if api_key else None, rows=rows)


def _sums(access: Access, first: date, last: date, only: str | None) -> dict[UsageKey, UsageCounts]:
    """The sums of the table, and this router's counts that are not in it yet. Each is counted once."""
    flushes = access.meter.unflushed()
    while True:
        before = are_written(flushes)
        sums = report.read(first, last, only)
        if are_written(flushes) == before:  # then the sums include just these
            break
    for flush in flushes:
        for slot, counts in flush.counts.items() if flush.id not in before else ():
            if only in (None, slot.key) and first.isoformat() <= slot.day <= last.isoformat():
                sums.setdefault(slot, UsageCounts()).add(counts)
    return sums


def _quota(api_key: ApiKey, access: Access) -> Quota:
    per_minute, per_month = limits_of(api_key)
    return Quota(
        per_minute=per_minute or None,
        per_month=per_month or None,
        used_this_month=access.meter.month(api_key.id, datetime.now(UTC)),
    )


def whoami(admitted: AdmittedRequest, access: Access) -> Caller:
    """Who the caller is, and what its key may do. Asks no database."""
    api_key = admitted.api_key
    return Caller(caller=admitted.caller, key=key_description(api_key, access) if api_key else None)


def key_description(api_key: ApiKey, access: Access) -> KeyDescription:
    """A key as its owner may see it."""
    return KeyDescription(
        id=api_key.caller,
        name=api_key.name,
        owner=api_key.owner,
        models=sorted(api_key.models),
        actions=sorted(api_key.actions),
        created=datetime.fromtimestamp(api_key.created, UTC),
        expires=_time(api_key.expires),
        secret_expires=_time(api_key.secret_until),
        quota=_quota(api_key, access),
    )


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
