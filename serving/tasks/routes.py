"""Tasks over HTTP: submit, look, fetch, cancel.

The router knows the keys, so it says in a header whose tasks a caller may see. The check is made here, where the table
is: no spelling of a path gets around it. A caller that reaches a service directly is trusted and sees all tasks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from registry.contract.spec import ModelSpec
from registry.core.errors import BadInput, Refused
from serving.tasks import store, task_files
from serving.tasks.listing import task_json
from serving.wire import responses
from serving.wire.admission import UploadBudget
from serving.wire.database_threads import DatabaseThreads
from serving.wire.encrypted_files import file_response
from serving.wire.headers import PREDICTION_ID_HEADER, PREFIX_HEADER, TASK_OWNER_HEADER
from serving.wire.negotiation import (
    JPEG,
    JSON,
    ResponseFormat,
    check_query,
    choose_media,
    parse_flag,
    response_format,
)
from serving.wire.uploads import Limits, Upload, read_upload

if TYPE_CHECKING:
    from serving.tasks.models import Task
    from serving.wire.call import RequestContext, ServedVersion

READ_THREADS, WRITE_THREADS = 2, 2
"""Writing inputs takes long; readers must not wait for it."""

ContextOf = Callable[[Request], "RequestContext"]
AskedOf = Callable[[Request], dict[str, Any]]


class TaskRoutes:
    """The endpoints of one model's tasks.

    Args:
        uploads: bounds the bytes of inputs in memory.
        context_of: the caller and the role of a request.
        asked_of: checks a submission's query, and returns the parameters in it, as of `ResponseFormat.asked`.
    """

    def __init__(
        self,
        spec: ModelSpec,
        served: ServedVersion,
        limits: Limits,
        uploads: UploadBudget,
        context_of: ContextOf,
        asked_of: AskedOf,
    ) -> None:
        self._spec, self._served, self._limits = spec, served, limits
        self._uploads, self._context_of, self._asked_of = uploads, context_of, asked_of
        self._headers = responses.version_headers(served)
        self._readers = DatabaseThreads(READ_THREADS, "tasks-read")
        self._writers = DatabaseThreads(WRITE_THREADS, "tasks-write")

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/tasks", self._endpoint(self.submit), methods=["POST"]),
            Route("/tasks/{id}", self._endpoint(self.one), methods=["GET", "DELETE"]),  # one route: Allow names both
            Route("/tasks/{id}/result", self._endpoint(self.result), methods=["GET"]),
        ]

    async def submit(self, request: Request) -> Response:
        asked = self._asked_of(request)
        wants = response_format(request.headers.get("accept"), request.query_params, self._spec.media_out)
        if JPEG in self._spec.media_out:  # in the JSON answer, which every task of one file has
            wants = replace(wants, image=parse_flag("image", request.query_params.get("image", "")))
        # Before the body is read: a refusal must cost little.
        await self._readers.run(lambda: store.check_room(self._spec.name))
        with self._uploads.reserve() as reservation:
            upload = await read_upload(request, self._spec.media_in, self._limits, reservation)
            task = await self._store(request, upload, replace(wants, asked=asked))
        content = self._task_json(request, task)
        return responses.JsonResponse(content, 202, {**self._headers, "Location": content["url"], "Retry-After": "1"})

    async def _store(self, request: Request, upload: Upload, wants: ResponseFormat) -> Task:
        for one in upload.inputs:
            if isinstance(one, BadInput):
                raise one
        upload.check_format(wants)
        bodies = [one for one in upload.inputs if isinstance(one, bytes)]
        context = self._context_of(request)
        submit = partial(
            store.submit, self._spec.name, self._served.version, wants, context.caller, context.role, bodies,
            upload.several, upload.names,
        )  # fmt: skip
        return await self._writers.run(submit)

    async def one(self, request: Request) -> Response:
        return await (self.cancel(request) if request.method == "DELETE" else self.look(request))

    async def look(self, request: Request) -> Response:
        task = await self._find(request)  # first, so that a foreign task answers as one that there is not
        check_query(request.query_params.multi_items(), ())
        return responses.JsonResponse(self._task_json(request, task), headers=self._headers)

    async def cancel(self, request: Request) -> Response:
        check_query(request.query_params.multi_items(), ("purge",))
        removed = parse_flag("purge", request.query_params.get("purge", ""))
        task = await self._find(request, store.remove if removed else store.cancel)
        return responses.JsonResponse({**self._task_json(request, task), "removed": removed}, headers=self._headers)

    async def result(self, request: Request) -> Response:
        task = await self._find(request)
        if task.state == "failed":
            error = dict(task.error or {})
            logged = {PREDICTION_ID_HEADER: error["prediction_id"]} if "prediction_id" in error else {}
            return responses.JsonResponse(error, error.get("status", 500), {**self._headers, **logged})
        if task.state != "done":
            raise Refused(
                f"the task is {task.state}",
                expected="a task that is done",
                fix="submit it again" if task.state == "cancelled" else "ask GET tasks/{id} how far it is",
            )
        check_query(request.query_params.multi_items(), ("format",))
        path, findings = (named(task.id, task.owner) for named in (task_files.result_file, task_files.findings_file))
        beside = task.media != JSON and await asyncio.to_thread(findings.is_file)
        offers = (task.media, JSON) if beside else (task.media,)
        media, headers = (
            choose_media(request.headers.get("accept"), request.query_params.get("format"), offers),
            task.headers,
        )
        if media != task.media:
            path, headers = findings, {name: value for name, value in headers.items() if name != "content-disposition"}
        if not await asyncio.to_thread(path.is_file):
            raise Refused("the result is gone", expected="a task that ended lately", fix="submit it again")
        return await asyncio.to_thread(file_response, request, path, task_files.name_of(path), headers, media)

    async def _find(self, request: Request, find: Callable[[str, str, str | None], Task] = store.find) -> Task:
        """The task that the path names, as `find` returns it."""
        task_id, owner = request.path_params["id"], request.headers.get(TASK_OWNER_HEADER)
        return await self._readers.run(lambda: find(self._spec.name, task_id, owner))

    def _task_json(self, request: Request, task: Task) -> dict[str, Any]:
        """`serving.client.schemas.Task`, with paths as this caller sees them: through the router, or directly."""
        prefix = f"/v1/models/{self._spec.name}"
        return task_json(task, prefix if request.headers.get(PREFIX_HEADER) == prefix else "")

    def _endpoint(self, answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                return await answer(request)
            except Exception as error:
                return responses.error_response(error, self._headers)

        return endpoint
