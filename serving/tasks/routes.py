"""Tasks over HTTP: submit, look, fetch, cancel.

Whose tasks a caller may see, the router says in a header: it knows the keys, and here is the table. Checked here, no
spelling of a path gets around it. Who asks a service directly is on its side of the door and sees all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from registry.contract.spec import ModelSpec
from registry.core import database
from registry.core.errors import BadInput, MissingService, Refused
from serving.tasks import store
from serving.wire import responses
from serving.wire.admission import UploadBudget
from serving.wire.call import PREFIX_HEADER, TASK_OWNER_HEADER
from serving.wire.negotiation import (
    JSON,
    PREDICTION_QUERY,
    ResponseFormat,
    check_query,
    choose_media,
    parse_flag,
    response_format,
)
from serving.wire.uploads import Limits, Upload, read_upload

if TYPE_CHECKING:
    from serving.tasks.models import Task
    from serving.wire.call import ServedVersion

READ_THREADS, WRITE_THREADS = 2, 2
"""Threads, and so connections to the database."""

_T = TypeVar("_T")
CallerOf = Callable[[Request], tuple[str, str]]
"""Caller and role of a request."""


class TaskRoutes:
    """The endpoints of one model's tasks."""

    def __init__(
        self, spec: ModelSpec, served: ServedVersion, limits: Limits, room: UploadBudget, who: CallerOf
    ) -> None:
        self._spec, self._served, self._limits, self._room, self._who = spec, served, limits, room, who
        self._headers = responses.version_headers(served)
        # Django's connections belong to a thread: one thread, one connection. Who writes inputs, which takes long,
        # keeps nobody waiting who only looks.
        self._looks = ThreadPoolExecutor(READ_THREADS, thread_name_prefix="tasks-look")
        self._writes = ThreadPoolExecutor(WRITE_THREADS, thread_name_prefix="tasks-write")

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/tasks", self._endpoint(self.submit), methods=["POST"]),
            Route("/tasks/{id}", self._endpoint(self.one), methods=["GET", "DELETE"]),  # one route: Allow names both
            Route("/tasks/{id}/result", self._endpoint(self.result), methods=["GET"]),
        ]

    async def submit(self, request: Request) -> Response:
        check_query(request.query_params.multi_items(), PREDICTION_QUERY)
        wants = response_format(request.headers.get("accept"), request.query_params, self._spec.media_out)
        await self._looked(lambda: store.check_room(self._spec.name))  # before the body is read
        with self._room.reserve() as held:
            upload = await read_upload(request, self._spec.media_in, self._limits, held)
            task = await self._kept(request, upload, wants)
        told = self._told(request, task)
        return JSONResponse(told, 202, {**self._headers, "Location": told["url"], "Retry-After": "1"})

    async def _kept(self, request: Request, upload: Upload, wants: ResponseFormat) -> Task:
        bodies = [one for one in upload.inputs if isinstance(one, bytes)]
        for one in upload.inputs:
            if isinstance(one, BadInput):
                raise one
        if upload.several and wants.media != JSON:
            raise BadInput(
                f"several files were sent, and {wants.media} holds the answer to one",
                expected=f"one file, or Accept: {JSON}",
                fix="submit them one by one, or ask for JSON",
            )
        caller, role = self._who(request)
        submitted = partial(
            store.submit, self._spec.name, self._served.version, wants, caller, role, bodies, upload.several
        )
        return await _in_database(self._writes, submitted)

    async def one(self, request: Request) -> Response:
        return await (self.cancel(request) if request.method == "DELETE" else self.look(request))

    async def look(self, request: Request) -> Response:
        return JSONResponse(self._told(request, await self._found(request)), headers=self._headers)

    async def cancel(self, request: Request) -> Response:
        asked = (self._spec.name, request.path_params["id"], request.headers.get(TASK_OWNER_HEADER))
        check_query(request.query_params.multi_items(), ("purge",))
        removes = parse_flag("purge", request.query_params.get("purge", ""))
        task = await self._looked(lambda: (store.remove if removes else store.cancel)(*asked))
        return JSONResponse({**self._told(request, task), "removed": removes}, headers=self._headers)

    async def result(self, request: Request) -> Response:
        task = await self._found(request)
        if task.state == "failed":
            error = dict(task.error or {})
            logged = {responses.PREDICTION_ID_HEADER: error["prediction_id"]} if "prediction_id" in error else {}
            return JSONResponse(error, error.get("status", 500), {**self._headers, **logged})
        if task.state != "done":
            raise Refused(
                f"the task is {task.state}",
                expected="a task that is done",
                fix="submit it again" if task.state == "cancelled" else "ask GET tasks/{id} how far it is",
            )
        choose_media(request.headers.get("accept"), request.query_params.get("format"), (task.media,))
        path = store.result_file(task.id, task.owner)
        if not await asyncio.to_thread(path.is_file):
            raise Refused("the result is gone", expected="a task within retention_days", fix="submit it again")
        return FileResponse(path, headers=task.headers, media_type=task.media)

    async def _found(self, request: Request) -> Task:
        asked = (self._spec.name, request.path_params["id"], request.headers.get(TASK_OWNER_HEADER))
        return await self._looked(lambda: store.find(*asked))

    def _told(self, request: Request, task: Task) -> dict[str, Any]:
        """The task, with its path as this caller has it: behind the router, which says so, or here."""
        behind = f"/v1/models/{self._spec.name}"
        return _told(task, f"{behind if request.headers.get(PREFIX_HEADER) == behind else ''}/tasks/{task.id}")

    async def _looked(self, work: Callable[[], _T]) -> _T:
        return await _in_database(self._looks, work)

    def _endpoint(self, answer: Callable[[Request], Any]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            try:
                return await answer(request)
            except Exception as error:
                return responses.error_response(error, self._headers)

        return endpoint


async def _in_database(threads: ThreadPoolExecutor, work: Callable[[], _T]) -> _T:
    """Raises MissingService when the database is away."""

    def renewed() -> _T:
        from django.db import DatabaseError, InterfaceError  # the first time it takes too long for the event loop

        try:
            database.renew_connection()
            return work()
        except (DatabaseError, InterfaceError) as error:
            raise MissingService(
                "the database of tasks does not answer", expected="a database", fix="try again in a moment"
            ) from error

    return await asyncio.get_running_loop().run_in_executor(threads, renewed)


def _told(task: Task, url: str) -> dict[str, Any]:
    return {
        "id": task.id,
        "url": url,
        "result_url": f"{url}/result",
        "model": task.model,
        "state": task.state,
        "done": task.done,
        "total": task.total,
        "attempts": task.attempts,
        "media": task.media or None,
        "error": task.error,
        "created": _time(task.created),
        "begun": _time(task.begun),
        "finished": _time(task.finished),
    }


def _time(when: datetime | None) -> str | None:
    return when.isoformat() if when else None
