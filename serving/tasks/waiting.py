"""`Prefer: wait=N` (RFC 7240): an answer about a task waits until the task is over, N seconds at most."""

from __future__ import annotations

import asyncio
import json
import re
import time
from functools import partial

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from registry.core.settings import settings
from serving.tasks import store
from serving.tasks.listing import task_json
from serving.wire.database_threads import DatabaseThreads
from serving.wire.responses import JsonResponse

FIRST_S, GROWTH, LONGEST_S = 0.1, 1.3, 1.0
"""Pauses between two looks."""
MAX_WAITING = 64
"""Answers that wait at once. Others come at once, without `Preference-Applied`."""
THREADS = 2
_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*(\d{1,6})\s*(?=$|[,;])", re.IGNORECASE)


def preferred_s(request: Request) -> float:
    """How long the caller wants to wait, `request_timeout_s` at most; 0: not at all."""
    found = _WAIT.search(",".join(request.headers.getlist("prefer")))
    return min(float(found[1]), settings().request_timeout_s) if found else 0.0


class TaskWaits:
    """The answers that wait in a router."""

    def __init__(self) -> None:
        self._waiting = 0
        self._database = DatabaseThreads(THREADS, "task-waits")

    async def answer(self, request: Request, model: str, rest: str, response: Response) -> Response:
        """`response`, or the answer about its task some time later, where it is about one that is not over."""
        within_s = preferred_s(request) if _is_about_a_task(request, rest, response) else 0.0
        if not within_s or self._waiting >= MAX_WAITING:
            return response
        task = json.loads(bytes(response.body))
        end, pause = time.monotonic() + within_s, FIRST_S
        self._waiting += 1
        try:
            while task["state"] not in store.FINISHED and (left := end - time.monotonic()) > 0:
                await asyncio.sleep(min(pause, left))
                pause = min(pause * GROWTH, LONGEST_S)
                found = await self._database.run(partial(store.find, model, task["id"]))
                task = task_json(found, f"/v1/models/{model}")
                if await request.is_disconnected():
                    break
        finally:
            self._waiting -= 1
        over = task["state"] in store.FINISHED
        dropped = ("content-length", "content-type", *(("retry-after",) if over else ()))
        headers = {name: value for name, value in response.headers.items() if name not in dropped}
        headers["Preference-Applied"] = f"wait={within_s:g}"
        return JsonResponse(task, 200 if over else response.status_code, headers)


def _is_about_a_task(request: Request, rest: str, response: Response) -> bool:
    if isinstance(response, StreamingResponse):  # its body is not here
        return False
    looks = request.method == "GET" and re.fullmatch(r"tasks/[0-9a-f]{32}", rest) is not None
    submits = request.method == "POST" and rest == "tasks"
    return (looks and response.status_code == 200) or (submits and response.status_code == 202)
