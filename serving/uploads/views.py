"""Uploads: begin one, ask how far it is, give it up. JSON in, JSON out."""

from __future__ import annotations

import binascii
import json
from base64 import b64decode
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_http_methods

from registry.contract import catalog
from registry.core.errors import BadInput, NotServed, Refused, Unauthorized, VisionloopError
from serving.releases import store as releases
from serving.runs import kinds, store
from serving.runs.models import Extra, Kind, Run, now
from serving.translation import errors
from serving.uploads import quotas, receiving
from serving.wire.responses import error_headers, known_error

OPTIONS = ("score",)
"""Of a prediction; each is a query parameter of the API."""

View = Callable[..., JsonResponse]


def errors_as_json(view: View) -> View:
    """Answers an error as the API does: what was found, what was expected, how to fix it."""

    @wraps(view)
    def answered(request: HttpRequest, *args: Any, **names: Any) -> JsonResponse:
        try:
            if not request.user.is_authenticated:
                raise Unauthorized("you are not logged in", expected="an account", fix="log in, and try again")
            return view(request, *args, **names)
        except VisionloopError as error:
            known = known_error(error, "web application")
            return JsonResponse(errors.to_json(known.to_json()), status=known.http_status, headers=error_headers(known))

    return answered


@require_http_methods(["POST"])
@errors_as_json
def begin(request: HttpRequest) -> JsonResponse:
    """Begins an upload, or goes on with an interrupted one of the same file: its id, and the byte to go on from.

    The body: `model`, `name`, `size`, `start` (the first 64 KiB in base64: an unusable file is refused before it is
    sent), and optionally `options`, `version`, `heatmap` (true: make one) and `consent` (true: the person agreed to
    what is kept).
    """
    asked = _body(request)
    model, name, size = _text(asked, "model"), _text(asked, "name"), asked.get("size")
    if not isinstance(size, int) or size <= 0:
        raise BadInput("the file is empty", expected="a file with bytes in it", fix="choose another file")
    user: Any = request.user
    if asked.get("consent") is True and user.consented is None:
        user.consented = now()
        user.save(update_fields=["consented"])
    if user.consented is None:
        raise Refused(
            "you have not agreed yet to what is kept of an upload", expected="your agreement", fix="tick the box first"
        )
    start = _start(asked)
    found = kinds.check(catalog.get(model), start, size)
    if releases.live(model) is None:
        raise NotServed(
            "this model has no version that could answer", expected="a released version", fix="choose another model"
        )
    quotas.check(user)
    wanted = asked.get("version") if isinstance(asked.get("version"), int) else None
    more = {"options": _options(asked.get("options")), "wanted": wanted}
    if asked.get("heatmap") is True and found.kind != Kind.VIDEO:
        more["heatmap"] = Extra.WAITING
    run = store.begin(user, model, name, size, found, receiving.digest(start), **more)
    return JsonResponse(_state(run), status=201)


@require_http_methods(["GET", "DELETE"])
@errors_as_json
def one(request: HttpRequest, run_id: str) -> JsonResponse:
    run = store.own(run_id, request.user)
    if request.method == "DELETE":
        store.delete(run)
        return JsonResponse({"id": run_id, "removed": True})
    return JsonResponse(_state(run))


def _state(run: Run) -> dict[str, object]:
    state = receiving.state_of(run)
    return {**state, "error": errors.to_json(run.error) if run.error else None}


def _body(request: HttpRequest) -> dict[str, Any]:
    try:
        content = json.loads(request.body)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise BadInput("the body is not a JSON object", expected="model, name, size and start", fix="reload the page")
    return content


def _text(asked: dict[str, Any], name: str) -> str:
    value = asked.get(name)
    if not isinstance(value, str) or not value:
        raise BadInput(f"{name} is {str(value)[:40]!r}", expected="a text", fix="reload the page, and try again")
    return value


def _start(asked: dict[str, Any]) -> bytes:
    try:
        return b64decode(_text(asked, "start"), validate=True)[: kinds.START_BYTES]
    except binascii.Error as error:
        raise BadInput("start is not base64", expected="the file's first bytes", fix="reload the page") from error


def _options(given: Any) -> dict[str, float]:
    """The options that the API knows; others are left out."""
    given = given if isinstance(given, dict) else {}
    return {name: float(given[name]) for name in OPTIONS if isinstance(given.get(name), int | float)}
