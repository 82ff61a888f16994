"""The OpenAPI document of a service, made from its ModelSpec, and the page that shows it without a network."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from registry.contract.spec import ModelSpec
from registry.core import errors
from registry.core.settings import settings
from serving.service import examples
from serving.service.schema import DESCRIPTION, prediction_schema
from serving.tasks import documentation as tasks
from serving.wire.call import ServedVersion
from serving.wire.json_inputs import INPUT, INPUTS, URL, URLS
from serving.wire.negotiation import JPEG, JSON, NPY, render_offers, short_name
from serving.wire.uploads import FIELD, MULTIPART

SECURITY: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "a key `vl_...`, from whoever runs this"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
"""How a key is sent to a router, by name."""

_REFUSALS: tuple[tuple[int, str], ...] = (
    (401, "Through a router that asks for keys: none, or one that is not valid"),
    (403, "Through a router that asks for keys: one for other models or actions"),
    (406, "None of the answer formats is acceptable"),
    (408, "The body came in too slowly"),
    (413, "More bytes, files or voxels than allowed; refused before it is read"),
    (415, "Not a content type or a file format that the model takes"),
    (422, "The file cannot be used: it says what was found, what was expected and how to fix it"),
    (429, "Too many wait already, or too many bytes; Retry-After says for how many seconds to stay away"),
    (500, "The service failed; its log says why"),
    (503, "Not ready, or no answer in time; see Retry-After"),
)
_HEADERS = {
    "X-Prediction-Id": (
        "Identity of the prediction, for feedback; of several, each is in its result; none of what was not begun",
        "string",
    ),
    "X-Model": ("Name of the model", "string"),
    "X-Model-Version": ("Version that answered", "integer"),
    "X-Release-Role": ("Part the version plays in the release for this request", "string"),
    "Server-Timing": ("Milliseconds by step", "string"),
}
_BINARY = {"type": "string", "format": "binary"}


@dataclass(frozen=True)
class _Operation:
    """One way of asking.

    Attributes:
        offers: media types of the answer; the first is the default.
        schema: name of the JSON answer's schema.
    """

    name: str
    summary: str
    text: str
    offers: Sequence[str]
    schema: str = "Prediction"
    extras: bool = False


def openapi(spec: ModelSpec, served: ServedVersion) -> dict[str, Any]:
    """An OpenAPI 3.1 document. Its server address is relative, so that it also holds behind the router."""
    posts = {f"/{one.name}": {"post": _post(spec, one)} for one in _operations(spec)}
    predict = posts["/predict"]["post"]
    answers = predict["responses"]["200"]["content"]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": spec.title,
            "version": str(served.version),
            "description": " ".join(filter(None, (f"Task: {spec.task}.", spec.caution))),
        },
        "servers": [{"url": "./", "description": "this version"}],
        "security": [{}, *({name: []} for name in SECURITY)],  # a service asks for none, a router in front may
        "paths": {
            **posts,
            **tasks.paths(predict["requestBody"], answers, spec.media_out, _extras(), dict(_REFUSALS)),
            "/schema": {"get": _schema()},
            "/healthz": {"get": _probe("healthz", "The process is alive", {})},
            "/livez": {"get": _probe("livez", "The process is alive", {})},
            "/readyz": {
                "get": _probe(
                    "readyz",
                    "The golden samples passed, and it is not being stopped: it can take traffic",
                    {"503": _text("Not yet, or no more")},
                )
            },
            "/metrics": {"get": _probe("metrics", "Prometheus metrics", {})},
        },
        "components": {
            "securitySchemes": SECURITY,
            "schemas": {
                "Prediction": prediction_schema({}),
                "Embedding": _embedding(),
                "PredictionList": _results(),
                "PredictionRequest": _json_body(),
                "ModelDescription": DESCRIPTION,
                "Task": tasks.SCHEMA,
                "Error": _error(),
            },
        },
    }


def _operations(spec: ModelSpec) -> list[_Operation]:
    from registry.versions.explain import COPIES  # loads PIL, which a service of scans never needs otherwise

    found = [
        _Operation(
            "predict",
            f"Predict one file or several ({', '.join(spec.extensions)})",
            "Several files get a list of answers, each with its own prediction id; what is wrong with one is its own "
            "entry, with the status that it would have had alone.",
            spec.media_out,
            extras=True,
        ),
        _Operation(
            "render",
            "The answer to one file as a picture, a mask or a video",
            "As `predict`, logged as such, but for people: the annotated picture of a picture, the annotated video of "
            "a video; Accept chooses among what there is.",
            render_offers(spec.media_out, False),
        ),
        _Operation(
            "explain",
            "What in the picture the answer rests on",
            f"{COPIES} copies of the input with a window each hidden go through the network, and a heat map shows "
            "where that weakened the answer. Costs many times the prediction. Not for videos.",
            (JPEG, JSON),
        ),
    ]
    if spec.embeds:
        text = f"It describes {spec.embeds}: pictures that are alike lie near each other."
        found.append(_Operation("embed", "The embedding of one file or several", text, (JSON, NPY), "Embedding"))
    return found


def _post(spec: ModelSpec, one: _Operation) -> dict[str, Any]:
    answers: dict[str, Any] = {media: {"schema": _BINARY} for media in one.offers}
    if JSON in one.offers:
        kinds = [{"$ref": f"#/components/schemas/{name}"} for name in (one.schema, "PredictionList")]
        answers[JSON] = {"schema": {"oneOf": kinds}}
    headers = {name: {"description": text, "schema": {"type": kind}} for name, (text, kind) in _HEADERS.items()}
    body = {
        MULTIPART: {"schema": _form()},
        JSON: {"schema": {"$ref": "#/components/schemas/PredictionRequest"}},
        **{media: {"schema": _BINARY} for media in spec.media_in},
    }
    now = settings()
    return {
        "operationId": one.name,
        "summary": one.summary,
        "description": f"{one.text}\n\nSend the file as the body, in the form field `{FIELD}` (repeated for several) "
        f"or as base64 in JSON; at most {now.max_upload_mb} MiB and {now.max_inputs} files. The Accept header (or "
        f"`?format=`) chooses the answer.\n\n{examples.of(spec, one.name, one.offers)}",
        "parameters": [
            _query(
                "format",
                "Answer format, where Accept cannot be set",
                {"type": "string", "enum": [short_name(media) for media in one.offers]},
            ),
            *(_extras() if one.extras else ()),
        ],
        "requestBody": {"required": True, "content": body},
        "responses": {
            "200": {"description": "The answer", "headers": headers, "content": answers},
            **{
                str(status): {
                    "description": text,
                    "headers": {"X-Prediction-Id": headers["X-Prediction-Id"]},
                    "content": {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}},
                }
                for status, text in _REFUSALS
            },
        },
    }


def _extras() -> list[dict[str, Any]]:
    return [
        _query(
            "explain",
            "Also explain the answer, as `/explain` does. With Accept: image/jpeg the map is the answer; in JSON it is "
            "`explanation`",
            {"type": "boolean", "default": False},
        ),
        _query(
            "image",
            "Put the annotated picture into the JSON answer, as base64 of a JPEG",
            {"type": "boolean", "default": False},
        ),
    ]


def _query(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _schema() -> dict[str, Any]:
    return {
        "operationId": "schema",
        "summary": "Classes, thresholds, media types, limits, and the JSON schema of an answer",
        "responses": {
            "200": {
                "description": "What it takes and answers",
                "content": {JSON: {"schema": {"$ref": "#/components/schemas/ModelDescription"}}},
            },
            "503": {"description": "Not ready", "content": {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}},
        },
    }


def _probe(operation: str, summary: str, others: dict[str, Any]) -> dict[str, Any]:
    return {"operationId": operation, "summary": summary, "responses": {"200": _text("Yes"), **others}}


def _text(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}


def _form() -> dict[str, Any]:
    several = {"type": "array", "items": _BINARY, "minItems": 1, "maxItems": settings().max_inputs}
    return {"type": "object", "required": [FIELD], "properties": {FIELD: several}}


def _json_body() -> dict[str, Any]:
    file = {"type": "string", "contentEncoding": "base64"}
    address = {"type": "string", "format": "uri", "description": "only where the setting allow_url_inputs is on"}

    def only(name: str, schema: dict[str, Any]) -> dict[str, Any]:
        return {"type": "object", "required": [name], "properties": {name: schema}, "additionalProperties": False}

    def several(schema: dict[str, Any]) -> dict[str, Any]:
        return {"type": "array", "items": schema, "minItems": 1, "maxItems": settings().max_inputs}

    kinds = {INPUT: file, INPUTS: several(file), URL: address, URLS: several(address)}
    text = "One file or several as base64, or as addresses; exactly one of the keys"
    return {"description": text, "oneOf": [only(name, schema) for name, schema in kinds.items()]}


def _embedding() -> dict[str, Any]:
    common = prediction_schema({})
    own = {"embedding": {"type": "array", "items": {"type": "number"}}, "dimensions": {"type": "integer"}}
    kept = {name: common["properties"][name] for name in common["required"]}
    text = "What `embed` answers: numbers that are near each other for inputs that are alike"
    return {"type": "object", "description": text, "required": [*own, *kept], "properties": own | kept}


def _results() -> dict[str, Any]:
    kinds = ("Prediction", "Embedding", "Error")
    entry = {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in kinds]}
    fields = {
        "results": {"type": "array", "items": entry, "description": "in the order of the files"},
        "model": {"type": "string"},
        "version": {"type": "integer"},
        "role": {"type": "string"},
        "elapsed_ms": {"type": "number"},
    }
    return {
        "type": "object",
        "description": "The answers to several files",
        "required": list(fields),
        "properties": fields,
    }


def _error() -> dict[str, Any]:
    fields: dict[str, Any] = {name: {"type": "string"} for name in errors.VisionloopError("").to_json()}
    fields["error"]["enum"] = sorted({"InternalError", *_names(errors.VisionloopError)})
    fields["status"] = {"type": "integer", "description": "in a list of results: what it would have been alone"}
    fields["file"] = {"type": "string", "description": "in a list of results: the name that the form gave the file"}
    fields["prediction_id"] = {"type": "string", "description": "in a list of results: of the log, if it was begun"}
    text = "Every error: what was found, what was expected, and what to do (`fix`)"
    return {"type": "object", "description": text, "required": ["error", "found"], "properties": fields}


def _names(kind: type[errors.VisionloopError]) -> list[str]:
    """Of an error and of all of its kinds that a caller may meet."""
    kinds = [one for one in kind.__subclasses__() if one.__module__ == errors.__name__]
    return [kind.__name__, *(name for one in kinds for name in _names(one))]


def docs_page(spec: ModelSpec, served: ServedVersion) -> str:
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
