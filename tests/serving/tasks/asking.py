"""A detector's tasks, asked for as callers do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from registry.vision.picture import to_jpeg
from serving.tasks import store, task_files
from tests.clips import scene
from tests.waiting import until

MODEL = "object_detection"
PICTURE = to_jpeg(scene(1, 160, 120))
FRAMES = 160


def once(client: httpx.Client, identity: str, wanted: Callable[[dict[str, Any]], bool], within_s: float = 90) -> Any:
    """The task, once it is as `wanted`."""

    def look() -> dict[str, Any] | None:
        found = client.get(f"/tasks/{identity}").json()
        return found if wanted(found) else None

    return until(look, within_s)


def is_over(task: dict[str, Any]) -> bool:
    return task["state"] in store.FINISHED


def names(identity: str) -> list[str]:
    return [path.name for path in task_files.task_folder(identity).glob("*")]
