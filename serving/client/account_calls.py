"""The calls about earlier predictions, usage and the caller's key, in the form of `serving.client.calls`."""

from __future__ import annotations

from datetime import date, datetime

from serving.client.calls import Call, File, content_of, path_part, read_as
from serving.client.key_schemas import Caller, NewKey, UsageReport, WebhookSecret
from serving.client.schemas import Deletion, FeedbackReceipt, LoggedPrediction, PredictionPage


def prediction(prediction_id: str) -> Call[LoggedPrediction]:
    """An earlier prediction of this key, with its answer."""
    return Call("GET", _prediction_path(prediction_id), read_as(LoggedPrediction))


def predictions(
    *,
    model: str = "",
    version: int | None = None,
    since: date | datetime | None = None,
    until: date | datetime | None = None,
    outcome: str = "",
    caller: str = "",
    limit: int = 50,
    cursor: str | None = None,
) -> Call[PredictionPage]:
    """Earlier predictions of this key with their answers, the newest first.

    Args:
        since, until: a day (UTC), or a time with its zone. The day `until` is included, a time `until` is not.
        outcome: `ok`, `failed`, or the class of an error.
        caller: with the action admin: a key's id or an address.
        limit: 100 at most.
        cursor: `next_cursor` of the page before.
    """
    days = {name: when.isoformat() for name, when in (("since", since), ("until", until)) if when}
    given = {"model": model, "version": version, "outcome": outcome, "caller": caller, "limit": limit, "cursor": cursor}
    params = {**days, **{name: str(value) for name, value in given.items() if value}}
    return Call("GET", "/v1/predictions", read_as(PredictionPage), {"params": params})


def delete_prediction(prediction_id: str) -> Call[Deletion]:
    """Deletes all that is kept of a prediction of this key: input, answer, label and statistics."""
    return Call("DELETE", _prediction_path(prediction_id), read_as(Deletion))


def feedback(prediction_id: str, label: str | File) -> Call[FeedbackReceipt]:
    """Gives the true label: a class as text, or a label file. A second label replaces the first."""
    sent = {"json": {"label": label}} if isinstance(label, str) else {"files": {"file": content_of(label)}}
    return Call("POST", f"{_prediction_path(prediction_id)}/feedback", read_as(FeedbackReceipt), sent)


def usage(since: date | None = None, until: date | None = None) -> Call[UsageReport]:
    """What this key asked, by model and day (UTC); default: this month."""
    days = {name: day.isoformat() for name, day in (("since", since), ("until", until)) if day}
    return Call("GET", "/v1/usage", read_as(UsageReport), {"params": days})


def whoami() -> Call[Caller]:
    """Who the router takes this caller for, and what its key may do. Counts as no request."""
    return Call("GET", "/v1/whoami", read_as(Caller))


def rotate(*, grace_s: int = 86400) -> Call[NewKey]:
    """Gives this key a new secret. Keep it, and open another client with it: this one goes on with the old secret,
    which is valid for `grace_s` seconds more."""
    return Call("POST", "/v1/keys/self/rotate", read_as(NewKey), {"params": {"grace_s": str(grace_s)}})


def webhook_secret() -> Call[WebhookSecret]:
    """The secret that signs this key's webhooks; `serving.client.webhooks.verify` checks them with it."""
    return Call("GET", "/v1/keys/self/webhook-secret", read_as(WebhookSecret))


def _prediction_path(prediction_id: str) -> str:
    return f"/v1/predictions/{path_part(prediction_id, 'prediction id', 'the `id` of a prediction')}"
