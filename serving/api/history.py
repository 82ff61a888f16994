"""Lists of predictions, for the typed routes and for pages. They wait for the database."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

from monitoring.log.models import Prediction as Row
from serving.access.keys import ALL, ApiKey
from serving.api import queries
from serving.client.schemas import PredictionPage
from serving.query.known_models import check_model
from serving.query.paging import DEFAULT_LIMIT, Position, bad_value, cut, read_number

if TYPE_CHECKING:
    from django.db.models import QuerySet

FAILED = "failed"
"""The outcome filter for all that is not ok."""


@dataclass(frozen=True)
class Filters:
    """Which predictions; None and "" do not filter.

    Attributes:
        since, until: aware times; `until` is excluded.
        outcome: "ok", FAILED, or the class of an error.
        caller: a key's `vl_<id>`, or an address.
    """

    model: str = ""
    version: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    outcome: str = ""
    caller: str = ""

    @classmethod
    def read(cls, model: str, version: str, since: str, until: str, outcome: str, caller: str) -> Filters:
        """The filters as a query has them. Raises BadInput; NotFound for an unknown model."""
        if model:
            check_model(model)
        if outcome and not re.fullmatch(r"[A-Za-z]{1,64}", outcome):
            raise bad_value("outcome", outcome, "ok, failed, or the class of an error", "e.g. ?outcome=ok")
        number = read_number("version", version, 2**31 - 1) if version else None
        times = _moment("since", since), _moment("until", until, is_end=True)
        return cls(model, number, *times, outcome, caller)

    def apply(self, rows: QuerySet[Row]) -> QuerySet[Row]:
        equal = {"model": self.model, "version": self.version, "caller": self.caller}
        rows = rows.filter(**{name: value for name, value in equal.items() if value})
        if self.since is not None:
            rows = rows.filter(time__gte=self.since)
        if self.until is not None:
            rows = rows.filter(time__lt=self.until)
        if self.outcome == FAILED:
            return rows.exclude(outcome="ok")
        return rows.filter(outcome=self.outcome) if self.outcome else rows


def visible(caller: str, api_key: ApiKey | None) -> QuerySet[Row]:
    """The predictions that a caller may see: its own answers, or with the action admin all of its models."""
    if api_key is None or not api_key.may("admin"):
        return Row.objects.filter(caller=caller).exclude(role="shadow")  # of a shadow it got no answer
    return Row.objects.all() if ALL in api_key.models else Row.objects.filter(model__in=api_key.models)


def page(
    filters: Filters, caller: str, api_key: ApiKey | None, after: Position | None = None, limit: int = DEFAULT_LIMIT
) -> PredictionPage:
    """The newest predictions that the caller may see, or those behind `after`; `limit` at most."""
    rows = filters.apply(visible(caller, api_key)).select_related("feedback", "answer")
    found, more = cut(rows, "time", after, limit)
    return PredictionPage(predictions=[queries.described(row) for row in found], next_cursor=more)


def _moment(name: str, text: str, is_end: bool = False) -> datetime | None:
    """A time, or the beginning of a day (UTC); with `is_end` of the day after, so that the day is included."""
    if not text:
        return None
    expected = "a day as YYYY-MM-DD, or a time like 2026-11-30T09:00:00Z"
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            day = datetime.combine(datetime.fromisoformat(text), time.min, UTC)
            return day + timedelta(days=1) if is_end else day
        # A + that was not encoded arrives as a blank.
        moment = datetime.fromisoformat(text.replace(" ", "+")).astimezone(UTC) if "T" in text else None
    except (ValueError, OverflowError) as error:
        raise bad_value(name, text, expected, f"correct ?{name}=") from error
    if moment is None or not re.search(r"(Z|[+ -]\d{2}:?\d{2})$", text):
        raise bad_value(name, text, expected, f"correct ?{name}=: a time has its offset, or Z for UTC")
    return moment
