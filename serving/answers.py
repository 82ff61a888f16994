"""What goes back over HTTP: JSON, files, and errors. Never a stack trace."""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse, Response

from registry.errors import BadInput, TooLarge, VisionloopError
from registry.spec import ModelSpec
from serving.worker import Answered, Served

logger = logging.getLogger("visionloop.serving")

PREDICTION_ID, MODEL, VERSION, ROLE = "X-Prediction-Id", "X-Model", "X-Model-Version", "X-Release-Role"
ENDINGS = {"image/jpeg": ".jpg", "image/png": ".png", "application/json": ".json", "video/webm": ".webm"}


def version_headers(served: Served) -> dict[str, str]:
    return {MODEL: served.model, VERSION: str(served.version), ROLE: served.role}


def answer(answered: Answered, media: str, served: Served, spec: ModelSpec) -> Response:
    """The answer to a prediction, in the media type that was agreed on."""
    steps = {name: 1000 * seconds for name, seconds in answered.prediction.seconds.items()}
    headers = {
        **version_headers(served),
        PREDICTION_ID: answered.id,
        "Vary": "Accept",
        "Server-Timing": ", ".join(
            f"{name};dur={ms:.2f}" for name, ms in {**steps, "total": answered.elapsed_ms}.items()
        ),
    }
    if answered.payload is None:
        content = {
            **answered.prediction.result.to_json(),
            "id": answered.id,
            "model": served.model,
            "version": served.version,
            "role": served.role,
            "elapsed_ms": round(answered.elapsed_ms, 3),
            "timings_ms": {name: round(ms, 3) for name, ms in steps.items()},
            **_extras(answered),
        }
        return JSONResponse(content, headers=headers)
    name = f"{served.model}-{answered.id[:8]}{_ending(media, answered.payload, spec)}"
    headers["Content-Disposition"] = (
        f'{"inline" if media.startswith(("image/", "video/")) else "attachment"}; filename="{name}"'
    )
    return Response(answered.payload, media_type=media, headers=headers)


def _extras(answered: Answered) -> dict[str, Any]:
    """What `?image=true` and `?explain=true` add; pictures are base64 of a JPEG."""
    extras: dict[str, Any] = {}
    if answered.image is not None:
        extras["image"] = base64.b64encode(answered.image).decode("ascii")
    found = answered.explanation
    if isinstance(found, BadInput):
        extras["explanation"] = {"image": None, "why_not": found.found, "seconds": 0.0, "network_calls": 0}
    elif found is not None:
        extras["explanation"] = {
            "image": base64.b64encode(found.picture).decode("ascii"),
            "evidence_lost": round(found.loss, 4),
            "seconds": round(found.seconds, 4),
            "network_calls": found.calls,
        }
    return extras


def _ending(media: str, payload: bytes, spec: ModelSpec) -> str:
    """The file ending of an answer: an answer in the input's own format takes the input's ending."""
    if media in ENDINGS:
        return ENDINGS[media]
    packed = payload[:2] == b"\x1f\x8b"
    return next((ending for ending in spec.extensions if ending.endswith(".gz") == packed), "")


def refusal(error: Exception, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error as JSON: what was found, what was expected, how to mend it. Unknown ones are logged, not shown."""
    out = dict(headers or {})
    if not isinstance(error, VisionloopError):
        logger.error("a request failed", exc_info=error)
        content: dict[str, Any] = {
            "error": "InternalError",
            "found": "the service failed on this request",
            "expected": "",
            "mend": "try again; if it happens again, the service's log says why",
        }
        return JSONResponse(content, status_code=500, headers=out)
    if error.http_status == 503:
        out["Retry-After"] = "1"
    if isinstance(error, TooLarge):
        out["Connection"] = "close"  # the rest of the body is not read
    return JSONResponse(error.to_json(), status_code=error.http_status, headers=out)
