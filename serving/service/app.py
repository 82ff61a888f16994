"""The HTTP interface of a service: /predict, /render, /explain, /embed, /tasks, /schema, /metrics, /openapi.json and
/docs.

It is a Starlette app that BentoML mounts. `@bentoml.api` methods cannot do what it needs: one path that takes a raw, a
multipart or a JSON body, answers by Accept, refuses by Content-Length before it reads, and copies nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, get_args

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
from serving.openapi.docs import swagger_page
from serving.query.parameters import parameter_names, read_parameters
from serving.query.versions import VERSION, check_available, read_version
from serving.service.metrics import ServiceMetrics
from serving.service.worker import Worker
from serving.tasks.routes import TaskRoutes
from serving.wire import responses
from serving.wire.admission import MIB, UploadBudget
from serving.wire.call import Outcome, RequestContext, ServedVersion
from serving.wire.deadline import until_disconnected
from serving.wire.headers import CALLER_HEADER, ROLE_HEADER, Role
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

MAX_LARGE_UPLOADS = 2
"""How many uploads of the largest size may be in memory at once."""

QUERIES = {"predict": PREDICTION_QUERY, "render": ("format",), "explain": ("format", "image"), "embed": ("format",)}
"""The query parameters of each POST; a detector has more."""

FormatOf = Callable[[Request, bool], ResponseFormat]
"""The format that a request asks for. The flag says whether the request brought a video."""


def create_api(spec: ModelSpec, worker: Worker) -> Starlette:
    """The app of one served version. `worker` may still be loading."""
    service = _Service(spec, worker)
    formats: dict[str, FormatOf] = {
        "predict": lambda request, _: _predict_format(request, spec.media_out),
        "render": lambda request, is_video: ResponseFormat(_media(request, render_offers(spec.media_out, is_video))),
        "explain": lambda request, _: _predict_format(request, (JPEG, JSON), explain="true"),
    }
    if spec.embeds:
        formats["embed"] = lambda request, _: ResponseFormat(_media(request, (JSON, NPY)), embedding=True)
    own = parameter_names(spec)
    more = {name: (VERSION,) if name == "embed" else (*own, VERSION) for name in formats}
    routes = [
        *(
            Route(f"/{name}", service.endpoint(format_of, (*QUERIES[name], *more[name])), methods=["POST"])
            for name, format_of in formats.items()
        ),
        *service.tasks.routes,
        Route("/schema", service.schema),
        Route("/openapi.json", service.openapi),
        Route("/docs", service.docs),
        Route("/metrics", service.metrics),
        Route("/", service.index),
    ]
    return responses.create_app(routes, worker.served)


def _predict_format(request: Request, offers: Sequence[str], **query: str) -> ResponseFormat:
    return response_format(request.headers.get("accept"), {**request.query_params, **query}, offers)


def _media(request: Request, offers: Sequence[str]) -> str:
    return choose_media(request.headers.get("accept"), request.query_params.get("format"), offers)


class _Service:
    """The endpoints of one served version."""

    def __init__(self, spec: ModelSpec, worker: Worker) -> None:
        self.spec, self.worker = spec, worker
        self._counters = ServiceMetrics(worker.served, worker.queue, worker.heavy_queue, lambda: worker.log)
        worker.on_batch = self._counters.batched
        self._by_role: Mapping[str, ServedVersion] = {
            role: replace(worker.served, role=role) for role in get_args(Role)
        }
        self._limits = Limits(settings().max_upload_mb * MIB, settings().max_inputs, settings().allow_url_inputs)
        self._uploads = UploadBudget(MAX_LARGE_UPLOADS * self._limits.max_bytes)
        known = (*PREDICTION_QUERY, *parameter_names(spec), VERSION)
        asked = partial(self._asked, known=known)
        self.tasks = TaskRoutes(spec, worker.served, self._limits, self._uploads, self._context, asked)

    def _served(self, request: Request) -> ServedVersion:
        """The version in the role that the router names; an unknown role is the version's own."""
        return self._by_role.get(request.headers.get(ROLE_HEADER, ""), self.worker.served)

    def _context(self, request: Request) -> RequestContext:
        caller = request.headers.get(CALLER_HEADER) or (request.client.host if request.client else "")
        return RequestContext(caller, self._served(request).role)

    def endpoint(self, format_of: FormatOf, known: Sequence[str]) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint of a POST that answers a file in the format that `format_of` gives. `known`: its query."""

        async def answer(request: Request) -> Response:
            began, media, predictions = time.perf_counter(), "", list[Prediction]()
            served = self._served(request)
            self._counters.began()
            try:
                self.worker.check_ready()
                asked = self._asked(request, known)
                wants = replace(format_of(request, False), asked=asked)
                media = wants.media
                # Before the body is read: a refusal must cost little.
                (self.worker.heavy_queue if wants.explain else self.worker.queue).check()
                with self._uploads.reserve() as reservation:
                    upload = await read_upload(request, self.spec.media_in, self._limits, reservation)
                    videos = [self._is_video(one) for one in upload.inputs]
                    if videos[0]:
                        wants = replace(format_of(request, True), asked=asked)
                        media = wants.media
                    heavy = [wants.explain or video for video in videos]
                    response = await self._predicted(request, upload, wants, heavy, served, predictions)
            except Exception as error:
                response = responses.error_response(error, responses.version_headers(served))
            if self.worker.draining:
                response.headers["Connection"] = "close"  # so that the next request goes to another service
            took = time.perf_counter() - began
            response.background = BackgroundTask(
                self._count, served.role, media, response.status_code, took, predictions
            )
            return response

        return answer

    def _asked(self, request: Request, known: Sequence[str]) -> dict[str, Any]:
        """The parameters of a call. Raises BadInput, also for another query than `known`; Refused for a version that is
        not this one."""
        query = request.query_params
        check_query(query.multi_items(), known)
        served = self.worker.served
        check_available(served.model, read_version(query) or served.version, (served.version,))
        return read_parameters(query, self.spec, self.worker.manifest.classes)

    def _is_video(self, body: bytes | BadInput) -> bool:
        return VIDEO_OUT in self.spec.media_out and isinstance(body, bytes) and is_video(body)

    async def _count(
        self, role: str, media: str, status: int, seconds: float, predictions: Sequence[Prediction]
    ) -> None:
        """Counts a request after its answer is sent, so that nobody waits for it."""
        for prediction in predictions:
            self._counters.predicted(prediction.prediction_statistics, prediction.seconds)
        self._counters.ended(role, media, status, seconds)

    async def _predicted(
        self,
        request: Request,
        upload: Upload,
        wants: ResponseFormat,
        heavy: Sequence[bool],
        served: ServedVersion,
        predictions: list[Prediction],
    ) -> Response:
        """The answer to an upload. Appends what was predicted to `predictions`.

        Args:
            heavy: of each input, as for `Worker.places`.
        """
        upload.check_format(wants)
        context, connection = self._context(request), _Connection(request)

        async def predict(body: bytes | BadInput, heavy: bool) -> Outcome:
            if isinstance(body, BadInput):
                raise body
            outcome = await self.worker.predict(body, wants, context, heavy, connection.closed)
            predictions.append(outcome.prediction)
            return outcome

        began = time.perf_counter()
        usable = [one for body, one in zip(upload.inputs, heavy, strict=True) if isinstance(body, bytes)]
        try:
            with self.worker.places(usable):
                if not upload.several:
                    outcome = await predict(upload.inputs[0], heavy[0])
                    return responses.prediction_response(outcome, wants, served, self.spec)
                outcomes = await asyncio.gather(*map(predict, upload.inputs, heavy), return_exceptions=True)
            elapsed_ms = 1000 * (time.perf_counter() - began)
            return responses.list_response(outcomes, wants, served, elapsed_ms, upload.names)
        finally:
            connection.forget()

    async def schema(self, request: Request) -> Response:
        try:
            check_query(request.query_params.multi_items(), ())
            findings = await self.worker.example()
            return responses.JsonResponse(await asyncio.to_thread(self._description, findings))
        except Exception as error:
            return responses.error_response(error, responses.version_headers(self.worker.served))

    def _description(self, findings: dict[str, Any]) -> dict[str, Any]:
        from serving.openapi.schema import describe  # not needed to predict, and takes time to load

        return describe(self.spec, self.worker.served, self.worker.manifest, findings).model_dump()

    async def openapi(self, request: Request) -> Response:
        return responses.JsonResponse(await asyncio.to_thread(self._document))

    def _document(self) -> dict[str, Any]:
        from serving.openapi.calls import document  # as above

        return document(self.spec, self.worker.served)

    async def docs(self, request: Request) -> Response:
        title = f"{self.spec.title}, version {self.worker.served.version}"
        return HTMLResponse(swagger_page(title, "openapi.json", "static_content", "favicon-light-32x32.png"))

    async def metrics(self, request: Request) -> Response:
        return Response(*self._counters.exposition())

    async def index(self, request: Request) -> Response:
        return RedirectResponse("docs")


class _Connection:
    """Whether the caller of a request is still there. Watched from the first call of `closed` on."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._watch: asyncio.Task[None] | None = None

    def closed(self) -> asyncio.Future[None]:
        """A future that is done when the caller has closed the connection."""
        if self._watch is None:
            self._watch = asyncio.create_task(until_disconnected(self._request.receive))
        return self._watch

    def forget(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
