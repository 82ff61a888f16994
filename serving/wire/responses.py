"""HTTP answers: JSON, files, and errors. Never a stack trace."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from registry.contract.spec import ModelSpec
from registry.core.errors import (
    BadInput,
    EncryptionError,
    MethodNotAllowed,
    NotFound,
    NotServed,
    SettingsError,
    StorageError,
    TooLarge,
    TooSlow,
    Unauthorized,
    VisionloopError,
)
from serving.wire import request_ids
from serving.wire.call import Outcome, ServedVersion, prediction_id_of
from serving.wire.deadline import CallerGone
from serving.wire.headers import MODEL_HEADER, PREDICTION_ID_HEADER, ROLE_HEADER, VERSION_HEADER
from serving.wire.negotiation import JPEG, JSON, NPY, WEBM, ResponseFormat
from serving.wire.request_ids import RequestIds

logger = logging.getLogger("visionloop.serving")

ENDINGS = {JPEG: ".jpg", "image/png": ".png", JSON: ".json", WEBM: ".webm", NPY: ".npy"}


class JsonResponse(Response):
    """JSON; numbers that are not finite are null."""

    media_type = JSON

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


def version_headers(served: ServedVersion) -> dict[str, str]:
    return {MODEL_HEADER: served.model, VERSION_HEADER: str(served.version), ROLE_HEADER: served.role}


def create_app(routes: Sequence[BaseRoute], served: ServedVersion) -> Starlette:
    """An app of a service. Its 404 and 405 have the form of every error. A path with a slash too many is not
    redirected: only the caller's own Host header could say where to."""

    no_route = no_route_handler(f"{served.model} has no", "GET docs shows what there is", version_headers(served))
    handlers: Any = {404: no_route, 405: no_route}
    app = Starlette(routes=routes, exception_handlers=handlers, middleware=[Middleware(RequestIds)])
    app.router.redirect_slashes = False
    return app


def no_route_handler(
    found: str, fix: str, headers: Mapping[str, str] | None = None
) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Starlette's handler of 404 and 405. `found`: the words before the request's method and path."""

    async def answer(request: Request, error: Exception) -> Response:
        asked = f"{found} {request.method} {request.scope['path'][:200]}"
        problem, allow = NotFound(asked, expected="a path that openapi.json describes", fix=fix), {}
        if allowed := (getattr(error, "headers", None) or {}).get("Allow"):
            problem, allow = MethodNotAllowed(asked, expected=allowed, fix=f"use {allowed}"), {"Allow": allowed}
        return JsonResponse(problem.to_json(), problem.http_status, {**(headers or {}), **allow})

    return answer


def prediction_response(outcome: Outcome, wants: ResponseFormat, served: ServedVersion, spec: ModelSpec) -> Response:
    """The answer to one input, in the media type that was agreed on."""
    timings = {**_timings_ms(outcome), "total": outcome.elapsed_ms}
    headers = {
        **version_headers(served),
        PREDICTION_ID_HEADER: outcome.id,
        "Vary": "Accept",
        "Server-Timing": ", ".join(f"{name};dur={ms:.2f}" for name, ms in timings.items()),
    }
    if wants.media == JSON:
        return JsonResponse(prediction_json(outcome, wants, served), headers=headers)
    payload = _npy(outcome) if wants.embedding else outcome.payload
    assert payload is not None
    name = f"{served.model}-{outcome.id[:8]}{_ending(wants.media, payload, spec)}"
    shown = "inline" if wants.media.startswith(("image/", "video/")) else "attachment"
    headers["Content-Disposition"] = f'{shown}; filename="{name}"'
    return Response(payload, media_type=wants.media, headers=headers)


def list_response(
    outcomes: Sequence[Outcome | BaseException],
    wants: ResponseFormat,
    served: ServedVersion,
    elapsed_ms: float,
    names: Sequence[str] = (),
) -> JsonResponse:
    """The answers to several inputs of one request, in their order. The error of an input is its own entry.

    Args:
        names: of the inputs' files; empty, or "" for one without a name. Each is repeated in its entry.

    Raises:
        CallerGone: nobody is there to read it.
        BaseException: one of `outcomes` that is no Exception, such as a cancellation.
    """
    results = []
    for one in outcomes:
        if isinstance(one, Outcome):
            results.append(prediction_json(one, wants, served))
        elif isinstance(one, CallerGone) or not isinstance(one, Exception):
            raise one
        else:
            results.append(entry_json(one))
    for entry, name in zip(results, names, strict=False):  # without a form there are no names
        if name:
            entry["file"] = name
    summary = {"model": served.model, "version": served.version, "role": served.role}
    content = {"results": results, **summary, "elapsed_ms": round(elapsed_ms, 3)}
    return JsonResponse(content, headers=version_headers(served))


def prediction_json(outcome: Outcome, wants: ResponseFormat, served: ServedVersion) -> dict[str, Any]:
    """The JSON answer to one input: `serving.client.schemas.Prediction` or `Embedding`."""
    if wants.embedding:
        vector = [float(f"{value:.9g}") for value in outcome.prediction.embedding]  # nine digits hold any float32
        findings: dict[str, Any] = {"embedding": vector, "dimensions": len(vector)}
    else:
        findings = outcome.findings
    return {
        **findings,
        "id": outcome.id,
        "model": served.model,
        "version": served.version,
        "role": served.role,
        "elapsed_ms": round(outcome.elapsed_ms, 3),
        "timings_ms": {name: round(ms, 3) for name, ms in _timings_ms(outcome).items()},
        **_extras(outcome),
    }


def _timings_ms(outcome: Outcome) -> dict[str, float]:
    """Milliseconds by step."""
    return {name: 1000 * seconds for name, seconds in outcome.prediction.seconds.items()}


def _npy(outcome: Outcome) -> bytes:
    """The embedding as a .npy file, float32 [D]."""
    import numpy as np

    stream = io.BytesIO()
    np.save(stream, np.asarray(outcome.prediction.embedding, dtype=np.float32), allow_pickle=False)
    return stream.getvalue()


def _extras(outcome: Outcome) -> dict[str, Any]:
    """What `?image=true` and `?explain=true` add; pictures are base64 of a JPEG."""
    extras: dict[str, Any] = {}
    if outcome.image is not None:
        extras["image"] = base64.b64encode(outcome.image).decode("ascii")
    explanation = outcome.explanation
    if isinstance(explanation, BadInput):
        extras["explanation"] = {"image": None, "why_not": explanation.found, "elapsed_ms": 0.0, "network_calls": 0}
    elif explanation is not None:
        extras["explanation"] = {
            "image": base64.b64encode(explanation.picture).decode("ascii"),
            "evidence_lost": round(explanation.loss, 4),
            "elapsed_ms": round(1000 * explanation.seconds, 3),
            "network_calls": explanation.calls,
        }
    return extras


def _ending(media: str, payload: bytes, spec: ModelSpec) -> str:
    """The file ending of an answer. An answer in the input's own format takes the input's ending."""
    if media in ENDINGS:
        return ENDINGS[media]
    packed = payload[:2] == b"\x1f\x8b"
    return next((ending for ending in spec.extensions if ending.endswith(".gz") == packed), "")


class InternalError(VisionloopError):
    """An unforeseen failure. The answer names the kind of error and whose log has the rest."""

    def __init__(self, process: str, error: BaseException | None = None) -> None:
        super().__init__(
            f"the {process} failed on this request" + (f" with {type(error).__name__}" if error else ""),
            fix=f"try again; if it happens again, the {process}'s log says why",
        )


def known_error(error: Exception, process: str = "service") -> VisionloopError:
    """The error as callers may see it. Logs one that nobody foresaw. `process`: whose error it is."""
    if isinstance(error, StorageError):
        logger.error(
            "no room for the request %s: %s", request_ids.current(), error
        )  # with the path, and what the operator can do
        return StorageError("the disk is full, or nearly", expected="room for this request", fix="try again later")
    # What is wrong with keys and kept files is for operators: the log has it.
    if isinstance(error, VisionloopError) and not isinstance(error, EncryptionError | SettingsError):
        return error
    logger.error("the %s failed on the request %s", process, request_ids.current(), exc_info=error)
    return InternalError(process, error)


def error_response(
    error: Exception, headers: Mapping[str, str] | None = None, process: str = "service"
) -> JsonResponse:
    """An error as JSON: what was found, what was expected, how to fix it. `process`: as for `known_error`."""
    known = known_error(error, process)
    out = {**(headers or {}), **error_headers(known)}
    if prediction_id := prediction_id_of(error):
        out[PREDICTION_ID_HEADER] = prediction_id
    return JsonResponse(known.to_json(), known.http_status, out)


def error_headers(error: VisionloopError) -> dict[str, str]:
    """The headers of an error's answer: when to try again, how to send a key, that the connection ends."""
    headers = {}
    if error.retry_after_s:
        headers["Retry-After"] = str(error.retry_after_s)
    elif error.http_status == 503 and not isinstance(error, NotServed):
        headers["Retry-After"] = "1"
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = 'Bearer realm="visionloop"'
    if isinstance(error, TooLarge | TooSlow):
        headers["Connection"] = "close"  # BentoML's server would read the rest; ours closes by itself
    return headers


def entry_json(error: Exception) -> dict[str, Any]:
    """An error as one of several results, or of a task: with the status that it would have alone, and with the id of
    its prediction. The id is not called `id`: by that callers know a prediction."""
    known, prediction_id = known_error(error), prediction_id_of(error)
    logged = {"prediction_id": prediction_id} if prediction_id else {}
    return {**known.to_json(), "status": known.http_status, **logged}
