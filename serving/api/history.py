"""Lists of predictions, page by page: for the typed routes and for pages. They wait for the database.

A page ends at a cursor: the time and id of its last prediction. The next page begins behind it, so that predictions
that came meanwhile move nothing.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

from monitoring.log.models import Prediction as Row
from registry.contract import catalog
from registry.core.errors import BadInput
from serving.access.keys import ALL, ApiKey
from serving.api import queries
from serving.client.schemas import PredictionPage

if TYPE_CHECKING:
    from django.db.models import QuerySet

MAX_LIMIT, DEFAULT_LIMIT = 100, 50
FAILED = "failed"
"""The outcome filter for all that is not ok."""
Position = tuple[datetime, str]
"""Time and id of a prediction."""


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
            catalog.get(model)
        if outcome and not re.fullmatch(r"[A-Za-z]{1,64}", outcome):
            raise _bad("outcome", outcome, "ok, failed, or the class of an error", "e.g. ?outcome=ok")
        number = _number("version", version, 2**31 - 1) if version else None
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
    from django.db.models import Q

    rows = filters.apply(visible(caller, api_key)).select_related("feedback", "answer").order_by("-time", "-id")
    if after is not None:
        rows = rows.filter(time__lte=after[0]).filter(Q(time__lt=after[0]) | Q(id__lt=after[1]))
    found = list(rows[: limit + 1])
    shown = found[:limit]
    more = _cursor((shown[-1].time, shown[-1].id)) if len(found) > limit else None
    return PredictionPage(predictions=[queries.described(row) for row in shown], next_cursor=more)


def read_limit(text: str) -> int:
    """A limit as a query has it. Raises BadInput."""
    return _number("limit", text, MAX_LIMIT) if text else DEFAULT_LIMIT


def _cursor(position: Position) -> str:
    when, number = position
    return base64.urlsafe_b64encode(f"{when.isoformat()} {number}".encode()).decode().rstrip("=")


def read_cursor(text: str) -> Position | None:
    """The position that a cursor names; None for "". Raises BadInput."""
    if not text:
        return None
    try:
        plain = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode("ascii")
        when, number = plain.split(" ")
        moment = datetime.fromisoformat(when)
        if moment.tzinfo is None or not re.fullmatch(r"[0-9a-f]{32}", number):
            raise ValueError(plain)
    except (binascii.Error, ValueError) as error:
        raise _bad("cursor", text, "the `next_cursor` of an answer", "begin without ?cursor=") from error
    return moment, number


def _number(name: str, text: str, most: int) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text) or not 1 <= int(text) <= most:
        raise _bad(name, text, f"a number from 1 to {most:,}", f"correct ?{name}=")
    return int(text)


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
        raise _bad(name, text, expected, f"correct ?{name}=") from error
    if moment is None or not re.search(r"(Z|[+ -]\d{2}:?\d{2})$", text):
        raise _bad(name, text, expected, f"correct ?{name}=: a time has its offset, or Z for UTC")
    return moment


def _bad(name: str, value: str, expected: str, fix: str) -> BadInput:
    return BadInput(f"{name} is {value[:80]!r}", expected=expected, fix=fix)
