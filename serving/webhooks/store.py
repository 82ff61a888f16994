"""Webhooks in the database: noted with their task, taken when it is over, tried again until somebody answers."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from registry.core import database
from registry.core.settings import settings
from serving.tasks.listing import task_json
from serving.tasks.store import FINISHED

PAUSES_S = (5, 300, 1800, 7200, 18000, 36000)
"""Between attempts: seven within 18 hours."""
LEASE_S = 60
"""How long an attempt belongs to the process that began it."""
DELIVERED, FAILED = "delivered", "failed"


@dataclass(frozen=True)
class Due:
    """A call that is to be made now. `task`: as `GET tasks/ID` shows it; None for one that is gone."""

    id: str
    url: str
    key: str
    attempts: int
    task: dict[str, Any] | None


def note(task_id: str, model: str, key_id: str, url: str) -> None:
    """Notes a task's webhook. A second one for the same task is ignored."""
    database.setup()
    from serving.webhooks.models import Delivery

    now = datetime.now(UTC)
    fields = {"id": f"msg_{uuid.uuid4().hex}", "model": model, "key": key_id, "url": url, "created": now, "due": now}
    Delivery.objects.get_or_create(task=task_id, defaults=fields)


def take(most: int) -> list[Due]:
    """Calls that are due, each for this process for `LEASE_S`."""
    database.setup()
    from serving.tasks.models import Task
    from serving.webhooks.models import Delivery

    now = datetime.now(UTC)
    waiting = Delivery.objects.filter(outcome="", due__lte=now)
    unfinished = Task.objects.filter(id__in=waiting.values("task")).exclude(state__in=FINISHED)
    taken = []
    for row in list(waiting.exclude(task__in=unfinished.values("id")).order_by("due")[:most]):
        lease = now + timedelta(seconds=LEASE_S)
        if not Delivery.objects.filter(id=row.id, outcome="", due=row.due).update(due=lease):
            continue  # another process has it
        task = Task.objects.filter(id=row.task).first()
        shown = task_json(task, f"/v1/models/{task.model}") if task is not None else None
        taken.append(Due(row.id, row.url, row.key, row.attempts, shown))
    return taken


def end(due: Due, problem: str, final: bool = False) -> None:
    """Notes how an attempt ended. `problem`: "" for one that was answered with 2xx; `final`: no other is to follow."""
    from serving.webhooks.models import Delivery

    row = Delivery.objects.filter(id=due.id, outcome="")
    again = bool(problem) and not final and due.attempts < len(PAUSES_S)
    after = timedelta(seconds=PAUSES_S[due.attempts]) if again else timedelta()
    row.update(
        attempts=due.attempts + 1,
        problem=problem[:256],
        due=datetime.now(UTC) + after,
        outcome="" if again else FAILED if problem else DELIVERED,
    )


def forget_keys(key_ids: Collection[str]) -> None:
    """Removes the webhooks of these keys, and the secrets that sign them. `key_ids`: without `vl_`."""
    database.setup()
    from serving.access.models import Key
    from serving.webhooks.models import Delivery

    Delivery.objects.filter(key__in=key_ids).delete()
    Key.objects.filter(id__in=key_ids).update(webhook_secret="")


def prune() -> None:
    """Removes what ended more than `retention_days` ago."""
    database.setup()
    from serving.webhooks.models import Delivery

    old = datetime.now(UTC) - timedelta(days=settings().retention_days)
    Delivery.objects.exclude(outcome="").filter(due__lt=old).delete()
