"""The typed routes, with django-ninja. Import only after `registry.core.database.setup()`."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, date, datetime
from functools import partial
from typing import Annotated, Any

import orjson
from django.http import HttpRequest, HttpResponse
from django.urls import path
from ninja import NinjaAPI, Path, Query
from ninja.errors import HttpError, ValidationError
from ninja.renderers import BaseRenderer
from pydantic import BeforeValidator

from registry.core.errors import BadInput, NotFound, VisionloopError
from serving.access.keys import ApiKey
from serving.access.middleware import ACCESS, ADMITTED, CALLER
from serving.api import labels, queries
from serving.client.schemas import Error, FeedbackReceipt, LoggedPrediction, UsageReport
from serving.wire.database_threads import DatabaseThreads
from serving.wire.negotiation import check_query
from serving.wire.responses import InternalError, error_headers, known_error

WAIT_S, LOOK_EVERY_S = 3.0, 0.1
"""A prediction is in the log a fraction of a second after its answer; longer while the database is busy or away."""
MAX_WAITING = 32
"""Requests that wait for a prediction at once."""
CONNECTIONS = 4
"""To the database."""
EXPECTED = {
    "prediction_id": ("32 hex digits, lower case", "take it from the answer's X-Prediction-Id, or its `id`"),
    "since": ("a day as YYYY-MM-DD", "e.g. ?since=2026-11-01"),
    "until": ("a day as YYYY-MM-DD", "e.g. ?until=2026-11-30"),
}
PredictionId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="the X-Prediction-Id of an answer")]

_database = DatabaseThreads(CONNECTIONS, "typed-routes")
_waiting = 0


def _day(value: object) -> object:
    """Refuses numbers, which pydantic takes as seconds since 1970."""
    if isinstance(value, str) and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        raise ValueError("not a day")
    return value


Day = Annotated[date, BeforeValidator(_day)]


class _Json(BaseRenderer):
    """JSON as the services write it: without blanks, times as ISO 8601."""

    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        return orjson.dumps(data)


class _Api(NinjaAPI):
    def get_content_type(self) -> str:
        return "application/json"  # RFC 8259 knows no charset


api = _Api(title="visionloop", openapi_url=None, docs_url=None, renderer=_Json())


def _refusals(*statuses: int) -> dict[int, Any]:
    return dict.fromkeys((*statuses, 401, 403, 422, 429, 503), Error)


@api.get(
    "/v1/predictions/{prediction_id}",
    response={200: LoggedPrediction, **_refusals(404)},
    operation_id="prediction",
    summary="What the log has about a prediction",
    tags=["predictions"],
)
async def prediction(request: HttpRequest, prediction_id: PredictionId) -> Any:
    """The caller's own predictions; any, with a key that has the action admin."""
    check_query(request.GET.items(), ())
    row = await _find(request, prediction_id)
    return await _database.run(partial(queries.described, row))


@api.post(
    "/v1/predictions/{prediction_id}/feedback",
    response={200: FeedbackReceipt, **_refusals(404, 408, 409, 413, 415)},
    operation_id="feedback",
    summary="Say what would have been right",
    tags=["predictions"],
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["label"],
                        "properties": {
                            "label": {"type": "string", "minLength": 1, "maxLength": labels.MAX_LABEL_LENGTH}
                        },
                    },
                    "example": {"label": "apple"},
                },
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "description": "one of the two",
                        "properties": {
                            "label": {"type": "string"},
                            "file": {"type": "string", "format": "binary"},
                        },
                    }
                },
            },
        }
    },
)
async def feedback(request: HttpRequest, prediction_id: PredictionId) -> Any:
    """The label of the caller's own prediction: a class as text, or a file as the model's data set has it (a mask,
    boxes). It is checked for the model and for the input; one that could never be scored is refused: 409 where the
    request had failed or the input is not kept any more. A second label takes the place of the first."""
    truth = labels.label_of(request)
    row = await _find(request, prediction_id)
    replaced = await _database.run(partial(queries.label, row, truth, _caller(request)))
    return FeedbackReceipt(prediction=row.id, model=row.model, version=row.version, replaced=replaced)


@api.get(
    "/v1/usage",
    response={200: UsageReport, **_refusals()},
    operation_id="usage",
    summary="Usage by key, model and day",
    tags=["usage"],
)
async def usage(
    request: HttpRequest,
    since: Annotated[Day | None, Query(description="first day, UTC; default: the first of this month")] = None,
    until: Annotated[Day | None, Query(description="last day, UTC; default: today")] = None,
) -> Any:
    """Usage of the caller's key; with the action admin, of all keys for the models of this key. Up to this
    moment for this router, up to a second ago for others."""
    check_query(request.GET.items(), ("since", "until"))
    today = datetime.now(UTC).date()
    first, last = since or today.replace(day=1), until or today
    if first > last:
        raise BadInput(f"since is {first}, until {last}", expected="since not after until", fix="swap the two")
    state = request.scope["state"]  # type: ignore[attr-defined]
    return await _database.run(partial(queries.usage, state[ADMITTED], state[ACCESS], first, last))


async def _find(request: HttpRequest, prediction_id: str) -> queries.Row:
    """The caller's prediction. Waits a moment for one that is still on its way into the log.

    Where `MAX_WAITING` requests wait already, it looks once. Another caller's prediction is answered like an unknown
    one, after the same time, so that ids cannot be guessed.
    """
    global _waiting
    api_key = request.scope["state"][ADMITTED].api_key  # type: ignore[attr-defined]
    found = await _own(prediction_id, _caller(request), api_key)
    if found is None and _waiting < MAX_WAITING:
        _waiting += 1
        try:
            end = asyncio.get_running_loop().time() + WAIT_S
            while found is None and asyncio.get_running_loop().time() < end:
                await asyncio.sleep(LOOK_EVERY_S)
                found = await _own(prediction_id, _caller(request), api_key)
        finally:
            _waiting -= 1
    if found is None:
        raise NotFound(
            f"there is no prediction {prediction_id}",
            expected="the X-Prediction-Id of an answer to this caller",
            fix="check the id; if the answer is a moment old, try again",
        )
    return found


async def _own(prediction_id: str, caller: str, api_key: ApiKey | None) -> queries.Row | None:
    row = await _database.run(partial(queries.find, prediction_id))
    return row if row is not None and queries.may_see(row, caller, api_key) else None


def _caller(request: HttpRequest) -> str:
    return str(request.scope["state"][CALLER])  # type: ignore[attr-defined]


def _error_response(problem: VisionloopError) -> HttpResponse:
    headers = error_headers(problem)
    if problem.http_status == 404:  # a prediction may be on its way into the log
        headers["Retry-After"] = "1"
    body = orjson.dumps(problem.to_json())
    return HttpResponse(body, content_type="application/json", status=problem.http_status, headers=headers)


@api.exception_handler(VisionloopError)
def _ours(_: HttpRequest, error: VisionloopError) -> HttpResponse:
    return _error_response(error)


@api.exception_handler(ValidationError)
def _invalid(_: HttpRequest, error: ValidationError) -> HttpResponse:
    first: dict[str, Any] = dict(error.errors[0])
    name = str((first.get("loc") or ("",))[-1])
    expected, fix = EXPECTED.get(name, (str(first.get("msg", "")), "correct the request"))
    return _error_response(BadInput(f"{name} is not valid", expected=expected, fix=fix))


@api.exception_handler(HttpError)
def _refused(_: HttpRequest, error: HttpError) -> HttpResponse:
    return _error_response(BadInput(str(error), fix="correct the request"))


@api.exception_handler(Exception)
def _failed(_: HttpRequest, error: Exception) -> HttpResponse:
    return _error_response(known_error(error, "router"))


# What Django reads of its ROOT_URLCONF: the table of addresses, and how errors outside of the routes are answered.
urlpatterns = [path("", api.urls)]


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _error_response(NotFound(f"there is no {request.path[:200]}", fix="/docs shows what there is"))


def handler400(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _failed(request, exception)


def handler500(request: HttpRequest) -> HttpResponse:
    return _error_response(InternalError("router"))
