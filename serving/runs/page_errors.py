"""Errors of ASGI routes that our pages call, in the language of the page: its script sends it as Accept-Language."""

from __future__ import annotations

from django.utils import translation
from starlette.requests import Request

from serving.translation import errors
from serving.wire.responses import JsonResponse, error_headers, known_error


def response(error: Exception, request: Request) -> JsonResponse:
    """As `serving.wire.responses.error_response`, translated."""
    known = known_error(error, "web application")
    with translation.override(_language(request)):
        return JsonResponse(errors.to_json(known.to_json()), known.http_status, error_headers(known))


def _language(request: Request) -> str:
    try:
        return str(translation.get_supported_language_variant(request.headers.get("accept-language", "").split(",")[0]))
    except LookupError:
        return "en"
