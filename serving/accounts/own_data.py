"""All that is kept of a person: handed out as a zip, and deleted.

Rooms above this one keep things of people, too. Each adds a `Holder` to `HOLDERS` when it is set up.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Protocol

from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction

from monitoring.feedback import erasure
from monitoring.log import answers
from monitoring.log.models import Prediction
from registry.core import database
from registry.core.errors import EncryptionError, NotFound, Refused
from serving.access import report
from serving.access.models import Key
from serving.accounts import audit, keys, people
from serving.accounts.models import Letter, User
from serving.accounts.zip_stream import Entry, zipped
from serving.idempotency import store as keyed_requests
from serving.tasks import store as tasks
from serving.tasks.models import Task
from serving.webhooks import store as webhooks


class Holder(Protocol):
    """Something that keeps things of people."""

    def entries(self, user: User) -> Iterator[Entry]:
        """The person's things, for the zip."""
        ...

    def erase(self, user: User, callers: list[str]) -> None:
        """Deletes them. `callers`: how the prediction log names the person. May be called twice."""
        ...


NAMELESS = "of a deleted account"
"""The name of keys that have no owner any more."""
HOLDERS: list[Holder] = []


def export(user: User) -> Iterator[bytes]:
    """The bytes of a zip with all of it, in pieces; nothing is kept on disk."""
    return zipped(_entries(user))


def erase(user: User, *, by: User | str = "", why: str = "") -> None:
    """Deletes the account with all of it. The audit trail says that an account was deleted, not whose.

    Args:
        by: who does it; default: the person.
        why: the reason that was given.

    Raises:
        Refused: it is the last administrator.
    """
    people.check_not_last(user)
    people.end_sessions(user)
    keys.revoke_all(user)
    callers = keys.callers(user)
    for holder in HOLDERS:
        holder.erase(user, callers)
    _erase_log(callers)
    with transaction.atomic():
        ids = [caller.removeprefix("vl_") for caller in callers]
        Key.objects.filter(id__in=ids).update(name=NAMELESS, owner="")
        Letter.objects.filter(recipients__iexact=user.email).delete()
        audit.note(by or f"user {user.pk}", "user.delete", f"user {user.pk}", why)
        user.delete()


def _erase_log(callers: list[str]) -> None:
    """Deletes the tasks and predictions of these callers, with inputs, answers, labels and webhooks."""
    keyed_requests.forget_callers(callers)
    webhooks.forget_keys([caller.removeprefix("vl_") for caller in callers])
    for model, task_id, state in Task.objects.filter(caller__in=callers).values_list("model", "id", "state"):
        with suppress(NotFound, Refused):  # it ended meanwhile, or its service has it: that removes it
            if state not in tasks.FINISHED:
                tasks.cancel(model, task_id)
            tasks.remove(model, task_id)
    for prediction_id in Prediction.objects.filter(caller__in=callers).values_list("id", flat=True):
        row = Prediction.objects.filter(pk=prediction_id).first()
        if row is not None:
            erasure.erase(row)


def _entries(user: User) -> Iterator[Entry]:
    yield "account.json", [_json(_account(user))]
    yield "keys.json", [_json([_key(one) for one in keys.of(user)])]
    today = datetime.now(UTC).date()
    used = [
        row
        for caller in keys.callers(user)
        for row in report.rows(user.date_joined.date(), today, caller.removeprefix("vl_"))
    ]
    yield "usage.csv", [report.as_csv(used).encode()]
    fields = ("time", "name", "email", "subject", "text", "answer", "answered", "state")
    yield "messages.json", [_json(list(user.messages.values(*fields)))]
    own = Prediction.objects.filter(caller__in=keys.callers(user))
    rows = own.order_by("time").select_related("answer", "feedback")
    yield "predictions.jsonl", (_json(_prediction(row), indent=None) + b"\n" for row in database.stream(rows, 500))
    for holder in HOLDERS:
        yield from holder.entries(user)


def _account(user: User) -> dict[str, Any]:
    sessions = user.usersession_set.values("created_at", "ip", "user_agent", "last_seen_at")
    factors = user.authenticator_set.values("type", "created_at", "last_used_at")
    names = (
        "email",
        "first_name",
        "last_name",
        "language",
        "role",
        "date_joined",
        "last_login",
        "consented",
        "per_minute",
        "per_month",
    )
    own = {name: getattr(user, name) for name in names}
    return {**own, "sessions": list(sessions), "second_factors": list(factors)}


def _key(one: keys.ApiKey) -> dict[str, Any]:
    moments = {name: getattr(one, name) for name in ("created", "expires", "revoked")}
    return {
        "id": one.caller,
        "name": one.name,
        "models": sorted(one.models),
        "actions": sorted(one.actions),
        **{name: datetime.fromtimestamp(at, UTC) if at is not None else None for name, at in moments.items()},
    }


def _prediction(row: Prediction) -> dict[str, Any]:
    """A prediction with its answer, unless that is not kept, and with its label where that is a text."""
    columns = ("id", "time", "model", "version", "role", "latency_ms", "outcome")
    answer = None
    with suppress(EncryptionError):  # one whose key is lost must not keep the rest from its owner
        answer = answers.of(row)
    label = row.feedback.truth_text if hasattr(row, "feedback") else ""
    return {**{name: getattr(row, name) for name in columns}, "answer": answer, "label": label}


def _json(value: Any, indent: int | None = 2) -> bytes:
    return json.dumps(value, indent=indent, ensure_ascii=False, cls=DjangoJSONEncoder).encode()
