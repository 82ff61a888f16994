"""What goes back over HTTP: JSON, files, and errors. Never a stack trace."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from registry.contract.spec import ModelSpec
from registry.core.errors import (
    BadInput,
    MethodNotAllowed,
    NotFound,
    NotServed,
    Overloaded,
    TooLarge,
    TooSlow,
    VisionloopError,
)
from serving.wire.call import ROLE_HEADER, Outcome, ServedVersion, prediction_id_of
from serving.wire.deadline import CallerGone
from serving.wire.negotiation import JSON, NPY, ResponseFormat

logger = logging.getLogger("visionloop.serving")

PREDICTION_ID_HEADER, MODEL_HEADER, VERSION_HEADER = "X-Prediction-Id", "X-Model", "X-Model-Version"
ENDINGS = {"image/jpeg": ".jpg", "image/png": ".png", JSON: ".json", "video/webm": ".webm", NPY: ".npy"}


class JsonResponse(Response):
    """A JSON answer; numbers that are not finite are null."""

    media_type = JSON

    def render(self, content: Any) -> bytes:
        return orjson.dumps(prediction_json)


def version_headers(served: ServedVersion) -> dict[str, str]:
    return {MODEL_HEADER: served.model, VERSION_HEADER: str(served.version), ROLE_HEADER: served.role}


def create_app(routes: Sequence[BaseRoute], served: ServedVersion) -> Starlette:
    """`routes` of a service; what they do not have gets an error as any other, and no path leads to another one: where
    to, only a caller's own Host header could say."""
    nothing = _nothing_there(served)
    made = Starlette(routes=routes, exception_handlers={404: nothing, 405: nothing})
    made.router.redirect_slashes = False
    return made


def _nothing_there(served: ServedVersion) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def prediction_response(request: Request, error: Exception) -> Response:
        allowed = (getattr(error, "headers", None) or {}).get("Allow", "")
        asked = f"{request.method} {request.scope['path'][:200]}"
        found = route_error(f"{served.model} has no {asked}", allowed, fix="GET docs shows what there is")
        headers = {**version_headers(served), **({"Allow": allowed} if allowed else {})}
        return JsonResponse(found.to_json(), found.http_status, headers)

    return prediction_response


def route_error(found: str, allowed: str, fix: str) -> NotFound:
    """The error of a path that there is not, or that takes only the methods `allowed`."""
    if allowed:
        return MethodNotAllowed(found, expected=allowed, fix=f"use {allowed}")
    return NotFound(found, expected="a path that openapi.json describes", fix=fix)


def prediction_response(answered: Outcome, wants: ResponseFormat, served: ServedVersion, spec: ModelSpec) -> Response:
    """The answer to a prediction, in the media type that was agreed on."""
    headers = {
        **version_headers(served),
        PREDICTION_ID_HEADER: answered.id,
        "Vary": "Accept",
        "Server-Timing": ", ".join(f"{name};dur={ms:.2f}" for name, ms in _timings(answered, "total").items()),
    }
    if wants.media == JSON:
        return JsonResponse(prediction_json(answered, wants, served), headers=headers)
    payload = _npy(answered) if wants.embedding else answered.payload
    assert payload is not None
    name = f"{served.model}-{answered.id[:8]}{_ending(wants.media, payload, spec)}"
    shown = "inline" if wants.media.startswith(("image/", "video/")) else "attachment"
    headers["Content-Disposition"] = f'{shown}; filename="{name}"'
    return Response(payload, media_type=wants.media, headers=headers)


def list_response(
    found: Sequence[Outcome | BaseException],
    wants: ResponseFormat,
    served: ServedVersion,
    elapsed_ms: float,
    names: Sequence[str] = (),
) -> JsonResponse:
    """The answers to several inputs of one request, in their order; what is wrong with one is its own entry.

    Args:
        names: of the inputs' files, where they have some; each is repeated in its entry.

    Raises:
        CallerGone: nobody is there to read it.
    """
    for one in found:
        if isinstance(one, CallerGone) or not isinstance(one, Outcome | Exception):
            raise one
    results = [
        prediction_json(one, wants, served) if isinstance(one, Outcome) else _entry(one)
        for one in found
        if isinstance(one, Outcome | Exception)
    ]
    for entry, name in zip(results, names, strict=False):  # without a form there are no names
        if name:
            entry["file"] = name
    summary = {"model": served.model, "version": served.version, "role": served.role}
    return JsonResponse(
        {"results": results, **summary, "elapsed_ms": round(elapsed_ms, 3)}, headers=version_headers(served)
    )


def _entry(error: Exception) -> dict[str, Any]:
    """Not as `id`: by that callers know a prediction."""
    logged = {"prediction_id": identity} if (identity := prediction_id_of(error)) else {}
    return {**_told(error), "status": _status(error), **logged}


def prediction_json(answered: Outcome, wants: ResponseFormat, served: ServedVersion) -> dict[str, Any]:
    """The JSON answer to one input."""
    if wants.embedding:
        vector = [float(f"{value:.9g}") for value in answered.prediction.embedding]  # nine digits hold any float32
        findings: dict[str, Any] = {"embedding": vector, "dimensions": len(vector)}
    else:
        findings = answered.prediction.result.to_json()
    return {
        **findings,
        "id": answered.id,
        "model": served.model,
        "version": served.version,
        "role": served.role,
        "elapsed_ms": round(answered.elapsed_ms, 3),
        "timings_ms": {name: round(ms, 3) for name, ms in _timings(answered).items()},
        **_extras(answered),
    }


def _timings(answered: Outcome, total: str = "") -> dict[str, float]:
    """Milliseconds by step, and under the name `total` those of the whole."""
    steps = {name: 1000 * seconds for name, seconds in answered.prediction.seconds.items()}
    return {**steps, total: answered.elapsed_ms} if total else steps


def _npy(answered: Outcome) -> bytes:
    """The embedding as a .npy file, float32 [D]."""
    import numpy as np

    stream = io.BytesIO()
    np.save(stream, np.asarray(answered.prediction.embedding, dtype=np.float32), allow_pickle=False)
    return stream.getvalue()


def _extras(answered: Outcome) -> dict[str, Any]:
    """What `?image=true` and `?explain=true` add; pictures are base64 of a JPEG."""
    extras: dict[str, Any] = {}
    if answered.image is not None:
        extras["image"] = base64.b64encode(answered.image).decode("ascii")
    found = answered.explanation
    if isinstance(found, BadInput):
        extras["explanation"] = {"image": None, "why_not": found.found, "elapsed_ms": 0.0, "network_calls": 0}
    elif found is not None:
        extras["explanation"] = {
            "image": base64.b64encode(found.picture).decode("ascii"),
            "evidence_lost": round(found.loss, 4),
            "elapsed_ms": round(1000 * found.seconds, 3),
            "network_calls": found.calls,
        }
    return extras


def _ending(media: str, payload: bytes, spec: ModelSpec) -> str:
    """The file ending of an answer: an answer in the input's own format takes the input's ending."""
    if media in ENDINGS:
        return ENDINGS[media]
    packed = payload[:2] == b"\x1f\x8b"
    return next((ending for ending in spec.extensions if ending.endswith(".gz") == packed), "")


def error_response(error: Exception, headers: Mapping[str, str] | None = None) -> JsonResponse:
    """An error as JSON: what was found, what was expected, how to fix it. Unknown ones are logged, not shown."""
    out = dict(headers or {})
    if isinstance(error, Overloaded):
        out["Retry-After"] = str(error.retry_after_s)
    elif isinstance(error, VisionloopError) and error.http_status == 503 and not isinstance(error, NotServed):
        out["Retry-After"] = "1"
    if identity := prediction_id_of(error):
        out[PREDICTION_ID_HEADER] = identity
    if isinstance(error, TooLarge | TooSlow):
        out["Connection"] = "close"  # the rest of the body is not read
    return JsonResponse(_told(error), status_code=_status(error), headers=out)


def _status(error: Exception) -> int:
    return error.http_status if isinstance(error, VisionloopError) else 500


def _told(error: Exception) -> dict[str, Any]:
    if isinstance(error, VisionloopError):
        return error.to_json()
    logger.error("a request failed", exc_info=error)
    return {
        "error": "InternalError",
        "found": "the service failed on this request",
        "expected": "",
        "fix": "try again; if it happens again, the service's log says why",
    }
