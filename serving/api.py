"""The HTTP interface of a service: /predict, /metrics, /openapi.json and /docs, as a Starlette app that BentoML mounts.

It is mounted instead of written as `@bentoml.api` methods because it needs what those do not give: one path that
takes a raw or a multipart body, answers by Accept, refuses by Content-Length before reading, and copies nothing.
"""

from __future__ import annotations

import time

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from registry.settings import settings
from registry.spec import ModelSpec
from serving import answers, documentation
from serving.instruments import Instruments
from serving.negotiation import wanted
from serving.uploads import MIB, read_body
from serving.worker import Worker

CALLER = "X-Caller"


def create_api(spec: ModelSpec, worker: Worker) -> Starlette:
    """The app of one served version. `worker` may still be loading."""
    served = worker.served
    counted = Instruments(served)

    async def predict(request: Request) -> Response:
        began, media = time.perf_counter(), ""
        counted.began()
        try:
            wants = wanted(request.headers.get("accept"), request.query_params, spec.media_out)
            media = wants.media
            body = await read_body(request, spec.media_in, settings().max_upload_mb * MIB)
            caller = request.headers.get(CALLER) or (request.client.host if request.client else "")
            answered = await worker.predict(body, caller, wants)
            response = answers.answer(answered, media, served, spec)
            counted.predicted(answered.prediction.prediction_statistics, answered.prediction.seconds)
        except Exception as error:
            response = answers.refusal(error, answers.version_headers(served))
        counted.ended(media, response.status_code, time.perf_counter() - began)
        return response

    async def openapi(request: Request) -> Response:
        return JSONResponse(documentation.openapi(spec, served))

    async def docs(request: Request) -> Response:
        return HTMLResponse(documentation.docs_page(spec, served))

    async def metrics(request: Request) -> Response:
        return Response(*counted.exposition())

    async def index(request: Request) -> Response:
        return RedirectResponse("docs")

    return Starlette(
        routes=[
            Route("/predict", predict, methods=["POST"]),
            Route("/openapi.json", openapi),
            Route("/docs", docs),
            Route("/metrics", metrics),
            Route("/", index),
        ]
    )
