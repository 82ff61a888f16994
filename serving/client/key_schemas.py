"""What the API sends about keys and their usage, as pydantic models like those of `serving.client.schemas`."""

from __future__ import annotations

from datetime import date, datetime

from pydantic import Field

from serving.client.schemas import Schema


class UsageRow(Schema):
    """What one key asked of one model on one day (UTC)."""

    day: date
    key: str = Field(description="empty: callers without a key, together")
    model: str = Field(description="empty: requests that concern no model")
    requests: int
    errors: int = Field(description="requests that were answered with 400 or more")
    refused: int = Field(description="over quota; not counted in `requests`")
    bytes_in: int
    bytes_out: int
    elapsed_ms: float = Field(description="from each request's arrival to its answer's last byte, summed")


class Quota(Schema):
    """What the key may ask; null: no limit. The month is the calendar's (UTC)."""

    per_minute: int | None
    per_month: int | None
    used_this_month: int


class UsageReport(Schema):
    """What was asked between two days, both included."""

    since: date
    until: date
    quota: Quota | None = Field(description="null without a key")
    rows: list[UsageRow]


class KeyDescription(Schema):
    """What a key may do, without its secret."""

    id: str = Field(description="its part in front of the secret: vl_ and 12 hex digits")
    name: str
    owner: str
    models: list[str] = Field(description="names, or * for all")
    actions: list[str] = Field(description="predict, read, feedback, admin")
    created: datetime
    expires: datetime | None = Field(description="null: never")
    secret_expires: datetime | None = Field(
        description="when the secret of this request ends, where the key was rotated; null: with the key"
    )
    quota: Quota


class Caller(Schema):
    """Who the router takes the caller for."""

    caller: str = Field(description="a key's id, or an address")
    key: KeyDescription | None = Field(description="null without a key")


class NewKey(Schema):
    """A rotated key. It is shown this once."""

    key: str = Field(description="the whole key, with its new secret")
    id: str = Field(description="its part in front of the secret, which stays")
    old_until: datetime = Field(description="when the old secret ends")


class WebhookSecret(Schema):
    """The secret of a key's webhooks."""

    secret: str = Field(description="whsec_ and base64, as Standard Webhooks writes it")
