"""Tasks as callers see them: one, and lists of them, for HTTP and for pages."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from registry.core import database
from serving.query.paging import DEFAULT_LIMIT, Position, cut

if TYPE_CHECKING:
    from serving.tasks.models import Task

STATES = ("queued", "running", "done", "failed", "cancelled")
_FIELDS = ("id", "model", "state", "done", "total", "attempts", "error", "created", "begun", "finished")


def task_json(task: Task, prefix: str) -> dict[str, Any]:
    """`serving.client.schemas.Task`. `prefix`: of the model's paths, e.g. `/v1/models/fruit_features`."""
    url = f"{prefix}/tasks/{task.id}"
    fields = {name: getattr(task, name) for name in _FIELDS}
    return {**fields, "url": url, "result_url": f"{url}/result", "media": task.media or None}


def page(
    *,
    caller: str | None,
    models: Collection[str] | None = None,
    state: str = "",
    after: Position | None = None,
    limit: int = DEFAULT_LIMIT,
) -> tuple[list[dict[str, Any]], str | None]:
    """The newest tasks, or those behind `after`, with paths on the router; and the next page's cursor.

    Args:
        caller: who submitted them; None for everybody's.
        models: only of these; None for all.
    """
    database.setup()
    from serving.tasks.models import Task

    rows = Task.objects.all() if caller is None else Task.objects.filter(caller=caller)
    if models is not None:
        rows = rows.filter(model__in=models)
    if state:
        rows = rows.filter(state=state)
    found, cursor = cut(rows, "created", after, limit)
    return [task_json(task, f"/v1/models/{task.model}") for task in found], cursor
