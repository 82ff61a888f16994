"""The OpenAPI document of a service, made from its ModelSpec, and the page that shows it without a network."""

from __future__ import annotations

import html
from typing import Any

from registry import errors
from registry.settings import settings
from registry.spec import ModelSpec
from serving.negotiation import short_name
from serving.uploads import FIELD, MULTIPART
from serving.worker import Served

_REFUSALS: tuple[tuple[int, str], ...] = (
    (406, "None of the answer formats is acceptable"),
    (413, "More bytes or voxels than allowed; refused before it is read"),
    (415, "Not a content type or a file format that the model takes"),
    (422, "The file cannot be used: it says what was found, what was expected and how to mend it"),
    (500, "The service failed; its log says why"),
    (503, "Not ready, or no answer in time; see Retry-After"),
)
_HEADERS = {
    "X-Prediction-Id": ("Identity of the prediction, for feedback", "string"),
    "X-Model": ("Name of the model", "string"),
    "X-Model-Version": ("Version that answered", "integer"),
    "X-Release-Role": ("Part the version plays in the release", "string"),
    "Server-Timing": ("Milliseconds by step", "string"),
}


def openapi(spec: ModelSpec, served: Served) -> dict[str, Any]:
    """An OpenAPI 3.1 document. Its server address is relative, so that it also holds behind the router."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": spec.title,
            "version": str(served.version),
            "description": " ".join(filter(None, (f"Task: {spec.task}.", spec.caution))),
        },
        "servers": [{"url": "./", "description": "this version"}],
        "paths": {
            "/predict": {"post": _predict(spec)},
            "/healthz": {"get": _probe("healthz", "The process is alive", {})},
            "/livez": {"get": _probe("livez", "The process is alive", {})},
            "/readyz": {
                "get": _probe("readyz", "The golden samples passed: it can take traffic", {"503": _text("Not yet")})
            },
            "/metrics": {"get": _probe("metrics", "Prometheus metrics", {})},
        },
        "components": {"schemas": {"Prediction": _prediction(), "Error": _error()}},
    }


def _predict(spec: ModelSpec) -> dict[str, Any]:
    from registry.vision.explain import COPIES  # loads PIL, which a service of scans never needs otherwise

    binary = {"type": "string", "format": "binary"}
    form = {"type": "object", "required": [FIELD], "properties": {FIELD: binary}}
    answers = {
        media: {"schema": {"$ref": "#/components/schemas/Prediction"} if media == "application/json" else binary}
        for media in spec.media_out
    }
    headers = {name: {"description": text, "schema": {"type": kind}} for name, (text, kind) in _HEADERS.items()}
    refusals = {
        str(status): {
            "description": text,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
        }
        for status, text in _REFUSALS
    }
    return {
        "operationId": "predict",
        "summary": f"Predict one file ({', '.join(spec.extensions)})",
        "description": f"Send the file as the body, or as the form field `{FIELD}`; at most "
        f"{settings().max_upload_mb} MiB. The Accept header (or `?format=`) chooses the answer.",
        "parameters": [
            _query(
                "format",
                "Answer format, where Accept cannot be set",
                {"type": "string", "enum": [short_name(media) for media in spec.media_out]},
            ),
            _query(
                "explain",
                f"Also explain the answer: {COPIES} copies of the input with a window each hidden go through the "
                "network, and a heat map shows where that weakened the answer. With Accept: image/jpeg the map is the "
                "answer; in JSON it is `explanation`. Costs many times the prediction. Not for videos",
                {"type": "boolean", "default": False},
            ),
            _query(
                "image",
                "Put the annotated picture into the JSON answer, as base64 of a JPEG",
                {"type": "boolean", "default": False},
            ),
        ],
        "requestBody": {
            "required": True,
            "content": {MULTIPART: {"schema": form}, **{media: {"schema": binary} for media in spec.media_in}},
        },
        "responses": {"200": {"description": "The prediction", "headers": headers, "content": answers}, **refusals},
    }


def _query(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _probe(operation: str, summary: str, others: dict[str, Any]) -> dict[str, Any]:
    return {"operationId": operation, "summary": summary, "responses": {"200": _text("Yes"), **others}}


def _text(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}


def _prediction() -> dict[str, Any]:
    fields = {
        "id": {"type": "string", "description": "uuid, hex"},
        "model": {"type": "string"},
        "version": {"type": "integer"},
        "role": {"type": "string"},
        "elapsed_ms": {"type": "number", "description": "bytes in to bytes out"},
        "timings_ms": {"type": "object", "additionalProperties": {"type": "number"}},
    }
    jpeg = {"type": ["string", "null"], "contentEncoding": "base64", "contentMediaType": "image/jpeg"}
    explanation = {
        "image": {**jpeg, "description": "the heat map over the input; null where there is nothing to explain"},
        "why_not": {"type": "string", "description": "why there is none"},
        "evidence_lost": {"type": "number", "description": "at the hottest place, as a share of all evidence"},
        "seconds": {"type": "number", "description": "what the explanation took"},
        "network_calls": {"type": "integer", "description": "inputs that went through the network for it"},
    }
    extras = {
        "image": {**jpeg, "description": "the annotated picture, with ?image=true"},
        "explanation": {
            "type": "object",
            "description": "with ?explain=true",
            "required": ["image", "seconds", "network_calls"],
            "properties": explanation,
        },
    }
    return {
        "type": "object",
        "description": "The model's own findings beside these fields; units are in the names",
        "required": list(fields),
        "properties": fields | extras,
        "additionalProperties": True,
    }


def _error() -> dict[str, Any]:
    fields = {name: {"type": "string"} for name in errors.VisionloopError("").to_json()}
    return {"type": "object", "required": ["error", "found"], "properties": fields}


def docs_page(spec: ModelSpec, served: Served) -> str:
    """Swagger UI from the assets that BentoML ships; nothing is fetched from elsewhere.

    BentoML's own index page would load Google's tag manager, so it is not used.
    """
    title = html.escape(f"{spec.title}, version {served.version}")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="static_content/swagger-ui.css">
<link rel="icon" href="static_content/favicon-light-32x32.png">
</head>
<body>
<noscript>{title}: the API is described in <a href="openapi.json">openapi.json</a>.</noscript>
<div id="swagger-ui"></div>
<script src="static_content/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({{url: "openapi.json", dom_id: "#swagger-ui", validatorUrl: null, tryItOutEnabled: true}});
</script>
</body>
</html>
"""
