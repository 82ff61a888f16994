"""What the API keeps, in PostgreSQL: requests with a key, webhooks, lists of predictions and tasks."""

from __future__ import annotations

import threading
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from serving.access import keys
from serving.access.webhook_secrets import webhook_secret
from serving.idempotency import store as keyed
from serving.idempotency.store import Claim, Earlier
from serving.tasks import listing
from serving.webhooks import store as webhooks

MINUTE = timedelta(minutes=1)


def test_of_many_requests_with_one_key_one_is_answered(company: Path) -> None:
    found: list[Claim | Earlier] = []

    def begin() -> None:
        from django.db import connection

        found.append(keyed.begin("me", "the-key", "f", MINUTE))
        connection.close()

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (claim,) = [one for one in found if isinstance(one, Claim)]
    keyed.finish(claim, "f", 200, [("x-model", "m")], bytes(range(256)), "p1")
    again = keyed.begin("me", "the-key", "f", MINUTE)
    assert isinstance(again, Earlier)
    assert (again.body, again.headers) == (bytes(range(256)), (("x-model", "m"),))
    keyed.forget("me", "p1")
    assert isinstance(keyed.begin("me", "the-key", "g", MINUTE), Claim)
    keyed.forget_callers(["me"])
    keyed.prune()


def test_a_webhook_is_taken_once(company: Path) -> None:
    from serving.tasks.models import Task

    api_key, _ = keys.create("hooks")
    assert webhook_secret(api_key.id) == webhook_secret(api_key.id)
    rest: dict[str, Any] = {"wants": {}, "inputs": 1, "several": False, "role": "live", "caller": api_key.caller}
    made = [
        Task.objects.create(
            id=uuid.uuid4().hex, model="m", version=1, state=state, created=datetime.now(UTC), **rest
        ).id
        for state in ("running", "done")
    ]
    for task in made:
        webhooks.note(task, "m", api_key.id, "https://example.com/")
    (due,) = webhooks.take(10)
    assert due.task is not None
    assert due.task["id"] == made[1]
    assert webhooks.take(10) == []
    webhooks.end(due, "")
    webhooks.prune()
    page, cursor = listing.page(caller=api_key.caller, limit=1)
    assert (page[0]["id"], cursor is None) == (made[1], False)


def test_predictions_are_listed(company: Path) -> None:
    from monitoring.log.models import Prediction
    from serving.api import history
    from serving.api.history import Filters

    now, ids = datetime.now(UTC), sorted((uuid.uuid4().hex for _ in range(3)), reverse=True)
    fields: dict[str, Any] = {"model": "fruit_features", "version": 1, "role": "live", "latency_ms": 1.0, "status": 200}
    for number in ids:
        Prediction.objects.create(id=number, time=now, caller="vl_lists", outcome="ok", **fields)
    page = history.page(Filters(outcome="ok", since=now - MINUTE), "vl_lists", None, limit=2)
    assert [one.id for one in page.predictions] == ids[:2]
    assert page.next_cursor
