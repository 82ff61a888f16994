"""The django-ninja API that the typed routes register with: its JSON, its errors, and what routes need of a request.

Import only after `registry.core.database.setup()`.
"""

from __future__ import annotations

from typing import Any

import orjson
from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.renderers import BaseRenderer

from registry.core.errors import BadInput, NotFound, VisionloopError
from serving.access.control import Access, AdmittedRequest
from serving.access.middleware import ACCESS, ADMITTED, CALLER
from serving.client.schemas import Error
from serving.wire.database_threads import DatabaseThreads
from serving.wire.responses import InternalError, error_headers, known_error

CONNECTIONS = 4
"""To the database."""
DAY = "a day as YYYY-MM-DD"
EXPECTED = {
    "prediction_id": ("32 hex digits, lower case", "take it from the answer's X-Prediction-Id, or its `id`"),
    "since": (DAY, "e.g. ?since=2026-11-01"),
    "until": (DAY, "e.g. ?until=2026-11-30"),
}

in_database = DatabaseThreads(CONNECTIONS, "typed-routes").run
"""Runs a query in a thread."""


class _Json(BaseRenderer):
    """JSON as the services write it: without blanks, times as ISO 8601."""

    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        return orjson.dumps(data)


class _Api(NinjaAPI):
    def get_content_type(self) -> str:
        return "application/json"  # RFC 8259 knows no charset


api = _Api(title="visionloop", openapi_url=None, docs_url=None, renderer=_Json())


def refusals(*statuses: int) -> dict[int, Any]:
    """The errors that a route declares: `statuses`, and those that every route may answer with."""
    return dict.fromkeys((*statuses, 401, 403, 422, 429, 503), Error)


def caller_of(request: HttpRequest) -> str:
    """The key's `vl_<id>`, or the address of a caller without a key."""
    return str(request.scope["state"][CALLER])  # type: ignore[attr-defined]


def admitted_of(request: HttpRequest) -> AdmittedRequest:
    admitted: AdmittedRequest = request.scope["state"][ADMITTED]  # type: ignore[attr-defined]
    return admitted


def access_of(request: HttpRequest) -> Access:
    access: Access = request.scope["state"][ACCESS]  # type: ignore[attr-defined]
    return access


def query_pairs(request: HttpRequest) -> list[tuple[str, str]]:
    """The query's names and values, repeated ones too."""
    return [(name, value) for name, values in request.GET.lists() for value in values]


def error_response(problem: VisionloopError) -> HttpResponse:
    headers = error_headers(problem)
    if problem.http_status == 404:  # a prediction may be on its way into the log
        headers["Retry-After"] = "1"
    body = orjson.dumps(problem.to_json())
    return HttpResponse(body, content_type="application/json", status=problem.http_status, headers=headers)


@api.exception_handler(VisionloopError)
def _ours(_: HttpRequest, error: VisionloopError) -> HttpResponse:
    return error_response(known_error(error, "router"))


@api.exception_handler(ValidationError)
def _invalid(_: HttpRequest, error: ValidationError) -> HttpResponse:
    first: dict[str, Any] = dict(error.errors[0])
    name = str((first.get("loc") or ("",))[-1])
    expected, fix = EXPECTED.get(name, (str(first.get("msg", "")), "correct the request"))
    return error_response(BadInput(f"{name} is not valid", expected=expected, fix=fix))


@api.exception_handler(HttpError)
def _refused(_: HttpRequest, error: HttpError) -> HttpResponse:
    return error_response(BadInput(str(error), fix="correct the request"))


@api.exception_handler(Exception)
def failed(_: HttpRequest, error: Exception) -> HttpResponse:
    return error_response(known_error(error, "router"))


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_response(NotFound(f"there is no {request.path[:200]}", fix="/docs shows what there is"))


def handler400(request: HttpRequest, exception: Exception) -> HttpResponse:
    return failed(request, exception)


def handler500(request: HttpRequest) -> HttpResponse:
    return error_response(InternalError("router"))
