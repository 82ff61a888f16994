"""What the typed routes take and give. Times are UTC, ISO 8601."""

from __future__ import annotations

from datetime import date, datetime

from ninja import Schema
from pydantic import Field


class Problem(Schema):
    """Every error: what was found, what was expected, how to fix it."""

    error: str
    found: str
    expected: str = ""
    fix: str = ""


class Feedback(Schema):
    """The truth of a prediction, as somebody gave it."""

    time: datetime
    source: str = Field(description="who gave it: a key's id, an address, or a name")
    label: str | None = Field(description="the class; null where the label is a file")
    score: float | None = Field(description="of the prediction, in the model's own metric; null until it is scored")
    problem: str = Field(description="why it cannot be scored; empty where it can")


class LoggedPrediction(Schema):
    """A prediction as the log has it."""

    id: str
    model: str
    version: int
    role: str = Field(description="part that the version played in the release")
    time: datetime
    caller: str = Field(description="a key's id, or an address")
    elapsed_ms: float = Field(description="bytes in to bytes out in the service, an explanation apart")
    outcome: str = Field(description="ok, or the class of the error")
    status: int = Field(description="HTTP status of the answer")
    image_statistics: dict[str, float]
    prediction_statistics: dict[str, float]
    input_kept: bool = Field(description="whether the input is still there, so that it can be run again")
    feedback: Feedback | None


class FeedbackReceipt(Schema):
    """Says that feedback was stored."""

    prediction: str
    model: str
    version: int
    replaced: bool = Field(description="whether there was a label before; the newest one counts")


class UsageRow(Schema):
    """What one key asked of one model on one day (UTC)."""

    day: date
    key: str = Field(description="empty: callers without a key, together")
    model: str = Field(description="empty: requests that concern no model")
    requests: int
    errors: int = Field(description="of the requests: answered with 400 or more")
    refused: int = Field(description="over quota; not among the requests")
    bytes_in: int
    bytes_out: int
    elapsed_ms: float = Field(description="from each request's arrival to its answer's last byte, summed")


class Quota(Schema):
    """What the key may ask; null: no limit."""

    per_minute: int | None
    per_month: int | None
    used_this_month: int


class UsageReport(Schema):
    """What was asked between two days, both included."""

    since: date
    until: date
    quota: Quota | None = Field(description="null without a key")
    rows: list[UsageRow]
