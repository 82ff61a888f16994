"""The HTTP interface of a service, as a Starlette app that BentoML mounts: /predict, /render, /explain, /embed,
/schema, /metrics, /openapi.json and /docs.

It is mounted instead of written as `@bentoml.api` methods because it needs what those do not give: one path that takes
a raw, a multipart or a JSON body, answers by Accept, refuses by Content-Length before reading, and copies nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from registry.contract.spec import ModelSpec
from registry.core.errors import BadInput
from registry.core.media import Prediction
from registry.core.settings import settings
from registry.vision.media_types import VIDEO_OUT, is_video
from serving.service.docs import swagger_page
from serving.service.metrics import ServiceMetrics
from serving.service.worker import Worker
from serving.tasks.routes import TaskRoutes
from serving.wire import responses
from serving.wire.admission import MIB, UploadBudget
from serving.wire.call import CALLER_HEADER, ROLE_HEADER, Outcome, RequestContext, ServedVersion
from serving.wire.negotiation import (
    JPEG,
    JSON,
    NPY,
    PREDICTION_QUERY,
    ResponseFormat,
    check_query,
    choose_media,
    render_offers,
    response_format,
)
from serving.wire.uploads import Limits, Upload, read_upload

UPLOADS = 2
"""Of the largest size, so many are in memory at once."""
ROLES = ("champion", "canary", "shadow", "a", "b")

Wants = Callable[[Request, bool], ResponseFormat]
"""What a request asks for, and whether it brought a video."""


def create_api(spec: ModelSpec, worker: Worker) -> Starlette:
    """The app of one served version. `worker` may still be loading."""
    service = _Service(spec, worker)
    asked: dict[str, Wants] = {
        "predict": lambda request, _: response_format(
            request.headers.get("accept"), request.query_params, spec.media_out
        ),
        "render": lambda request, video: _rendered(request, spec, video),
        "explain": lambda request, _: _explained(request),
    }
    if spec.embeds:
        asked["embed"] = lambda request, _: _embedded(request)
    routes = [
        *(Route(f"/{name}", service.endpoint(wants), methods=["POST"]) for name, wants in asked.items()),
        *service.tasks.routes,
        Route("/schema", service.schema),
        Route("/openapi.json", service.openapi),
        Route("/docs", service.docs),
        Route("/metrics", service.metrics),
        Route("/", service.index),
    ]
    return responses.create_app(routes, worker.served)


def _rendered(request: Request, spec: ModelSpec, video: bool) -> ResponseFormat:
    offers = render_offers(spec.media_out, video)
    return ResponseFormat(choose_media(request.headers.get("accept"), request.query_params.get("format"), offers))


def _explained(request: Request) -> ResponseFormat:
    return response_format(request.headers.get("accept"), {**request.query_params, "explain": "true"}, (JPEG, JSON))


def _embedded(request: Request) -> ResponseFormat:
    offers = (JSON, NPY)
    return ResponseFormat(
        choose_media(request.headers.get("accept"), request.query_params.get("format"), offers), embedding=True
    )


class _Service:
    """The endpoints of one served version."""

    def __init__(self, spec: ModelSpec, worker: Worker) -> None:
        self.spec, self.worker = spec, worker
        self.counted = ServiceMetrics(worker.served, worker.line, worker.heavy_line, lambda: worker.log)
        worker.on_batch = self.counted.batched
        self._as_role: Mapping[str, ServedVersion] = {role: replace(worker.served, role=role) for role in ROLES}
        self._limits = limits = Limits(
            settings().max_upload_mb * MIB, settings().max_inputs, settings().allow_url_inputs
        )
        self._room = UploadBudget(UPLOADS * limits.max_bytes)
        self.tasks = TaskRoutes(spec, worker.served, limits, self._room, self._who)

    def _who(self, request: Request) -> tuple[str, str]:
        """Caller and role."""
        caller = request.headers.get(CALLER_HEADER) or (request.client.host if request.client else "")
        return caller, self._as_role.get(request.headers.get(ROLE_HEADER, ""), self.worker.served).role

    def endpoint(self, wants_of: Wants) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            began, media, seen = time.perf_counter(), "", list[Prediction]()
            served = self._as_role.get(request.headers.get(ROLE_HEADER, ""), self.worker.served)
            self.counted.began()
            try:
                self.worker.check_ready()
                check_query(request.query_params.multi_items(), PREDICTION_QUERY)
                early = wants_of(request, False)
                media = early.media
                # Before the body is read: refusing must cost little.
                (self.worker.heavy_line if early.explain else self.worker.line).check()
                with self._room.reserve() as held:
                    upload = await read_upload(request, self.spec.media_in, self._limits, held)
                    first = upload.inputs[0]
                    video = VIDEO_OUT in self.spec.media_out and isinstance(first, bytes) and is_video(first)
                    wants = wants_of(request, video)
                    media = wants.media
                    response = await self._answered(request, upload, wants, served, seen)
            except Exception as error:
                response = responses.error_response(error, responses.version_headers(served))
            if self.worker.draining:
                response.headers["Connection"] = "close"  # the next request finds another service
            took = time.perf_counter() - began
            response.background = BackgroundTask(self._count, served.role, media, response.status_code, took, seen)
            return response

        return answer

    async def _count(
        self, role: str, media: str, status: int, seconds: float, predictions: Sequence[Prediction]
    ) -> None:
        """Counts a request once its answer is sent, so that nobody waits for it."""
        for prediction in predictions:
            self.counted.predicted(prediction.prediction_statistics, prediction.seconds)
        self.counted.ended(role, media, status, seconds)

    async def _answered(
        self, request: Request, upload: Upload, wants: ResponseFormat, served: ServedVersion, seen: list[Prediction]
    ) -> Response:
        if upload.several and wants.media != JSON:
            raise BadInput(
                f"several files were sent, and {wants.media} holds the answer to one",
                expected=f"one file, or Accept: {JSON}",
                fix="send them one by one, or ask for JSON",
            )
        bodies = [one for one in upload.inputs if isinstance(one, bytes)]
        asked = RequestContext(*self._who(request))
        caller = _Caller(request)

        async def predicted(one: bytes | BadInput) -> Outcome:
            if isinstance(one, BadInput):
                raise one
            answered = await self.worker.predict(one, wants, asked, caller.gone)
            seen.append(answered.prediction)
            return answered

        try:
            if not upload.several:
                with self.worker.places(bodies, wants):
                    answered = await predicted(upload.inputs[0])
                return responses.prediction_response(answered, wants, served, self.spec)
            began = time.perf_counter()
            with self.worker.places(bodies, wants):
                found = await asyncio.gather(*map(predicted, upload.inputs), return_exceptions=True)
            return responses.list_response(found, wants, served, 1000 * (time.perf_counter() - began), upload.names)
        finally:
            caller.forget()

    async def schema(self, request: Request) -> Response:
        try:
            findings = await self.worker.example()
            return responses.JsonResponse(await asyncio.to_thread(self._description, findings))
        except Exception as error:
            return responses.error_response(error, responses.version_headers(self.worker.served))

    def _description(self, findings: dict[str, Any]) -> dict[str, Any]:
        from serving.service.schema import describe  # not needed to predict, and takes time to load

        return describe(self.spec, self.worker.served, self.worker.manifest, findings).model_dump()

    async def openapi(self, request: Request) -> Response:
        return responses.JsonResponse(await asyncio.to_thread(self._document))

    def _document(self) -> dict[str, Any]:
        from serving.service.openapi import document  # as above

        return document(self.spec, self.worker.served)

    async def docs(self, request: Request) -> Response:
        title = f"{self.spec.title}, version {self.worker.served.version}"
        return HTMLResponse(swagger_page(title, "openapi.json", "static_content", "favicon-light-32x32.png"))

    async def metrics(self, request: Request) -> Response:
        return Response(*self.counted.exposition())

    async def index(self, request: Request) -> Response:
        return RedirectResponse("docs")


class _Caller:
    """Whether the caller of a request is still there; watched from the first question on."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._watch: asyncio.Task[None] | None = None

    def gone(self) -> asyncio.Future[None]:
        if self._watch is None:
            self._watch = asyncio.create_task(self._until_gone())
        return self._watch

    def forget(self) -> None:
        if self._watch is not None:
            self._watch.cancel()

    async def _until_gone(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
