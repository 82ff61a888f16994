"""Pieces of an OpenAPI document: component schemas, errors, headers and query parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from registry.core.settings import settings
from serving.query.parameters import LEAST_SCORE, MAX_DETECTIONS
from serving.wire.json_inputs import INPUT, INPUTS, URL, URLS
from serving.wire.negotiation import JSON, short_name

Schema = dict[str, Any]
_TEXT: Schema = {"type": "string"}

_REFUSALS = {
    401: "Only through a router that requires keys: no key, or one that is not valid",
    403: "Only through a router that requires keys: a key for other models or actions",
    404: "This caller has no such task",
    406: "The model cannot answer in any of the formats that Accept allows",
    408: "The body came in too slowly",
    409: "Not in this state: `found` says which: of a task, or a version that is not served",
    413: "More bytes, files or voxels than allowed; refused before the body is read",
    415: "The model does not take this content type or file format",
    422: "The request cannot be used: `found`, `expected` and `fix` say why, and what to do",
    429: "Too many requests or bytes are waiting; Retry-After says for how many seconds to stay away",
    500: "The service failed; its log says why",
    503: "The service is not ready, or did not answer in time; see Retry-After",
    507: "The disk is full, or nearly full",
}


class _Untitled(GenerateJsonSchema):
    """Without a `title` for each field: it would only repeat the name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def json_schemas(*models: type[BaseModel]) -> dict[str, Schema]:
    """The component schemas of `models` and of what they refer to, by name."""
    schemas = models_json_schema(
        [(model, "validation") for model in models],
        ref_template="#/components/schemas/{model}",
        schema_generator=_Untitled,
    )[1]["$defs"]
    return dict(schemas)


def json_content(name: str) -> Schema:
    """The content of an answer that is JSON of the component schema `name`."""
    return {JSON: {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def refused(*statuses: int) -> dict[str, Schema]:
    return {str(one): {"description": _REFUSALS[one], "content": json_content("Error")} for one in statuses}


def header(description: str, kind: str) -> Schema:
    return {"description": description, "schema": {"type": kind}}


def query_parameter(name: str, description: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def boolean() -> Schema:
    return {"type": "boolean", "default": False}


def format_parameter(description: str, offers: Sequence[str]) -> Schema:
    return query_parameter("format", description, {"type": "string", "enum": [short_name(media) for media in offers]})


def extra_parameters() -> list[Schema]:
    explain = (
        "Also explain the answer, as `explain` does. With Accept: image/jpeg the heat map is the answer; in JSON it is "
        "`explanation`"
    )
    image = "Put the annotated picture into the JSON answer, as base64 of a JPEG"
    return [query_parameter("explain", explain, boolean()), query_parameter("image", image, boolean())]


def detector_parameters() -> list[Schema]:
    """Of detectors only; other models refuse them."""
    share = {"type": "number", "minimum": 0, "maximum": 1}
    number = {"type": "integer", "minimum": 1, "maximum": MAX_DETECTIONS}
    own = "; default: the version's own. Detectors, pictures only"
    return [
        query_parameter("score", f"Least score of a box{own}", {**share, "minimum": LEAST_SCORE}),
        query_parameter("iou", f"Overlap of two boxes of one class above which the better one stays{own}", share),
        query_parameter("classes", "Only these classes, with commas between. Detectors, pictures only", _TEXT),
        query_parameter("max_detections", "Most boxes, the best first. Detectors, pictures only", number),
    ]


def version_parameter() -> Schema:
    text = "The version that is to answer: the live one, or one that runs beside it; 409 says which there are"
    return query_parameter("version", text, {"type": "integer", "minimum": 1, "maximum": 2**31 - 1})


def webhook_parameter() -> Schema:
    text = (
        "An https address that is called when the task is over, signed as Standard Webhooks defines with the secret of "
        "`/v1/keys/self/webhook-secret`. Only with a key, and through a router"
    )
    return query_parameter("webhook", text, {"type": "string", "format": "uri", "maxLength": 2000})


def idempotency_header() -> Schema:
    text = (
        "A text of the caller's own, e.g. a UUID. The same text with the same request gets the first answer again for "
        "24 hours; with another request it is 422. Only through a router"
    )
    schema = {"type": "string", "minLength": 1, "maxLength": 255}
    return {"name": "Idempotency-Key", "in": "header", "description": text, "schema": schema}


def prefer_header() -> Schema:
    text = "`wait=N`: answer when the task is over, or after N seconds. Only through a router"
    schema = {"type": "string", "pattern": "^wait=[0-9]{1,6}$"}
    return {"name": "Prefer", "in": "header", "description": text, "schema": schema}


def file_in_json() -> Schema:
    """The schema of a JSON request body."""
    file = {"type": "string", "contentEncoding": "base64"}
    address = {"type": "string", "format": "uri", "description": "only where the setting allow_url_inputs is on"}

    def several(schema: Schema) -> Schema:
        return {"type": "array", "items": schema, "minItems": 1, "maxItems": settings().max_inputs}

    kinds = {INPUT: file, INPUTS: several(file), URL: address, URLS: several(address)}
    bodies = [
        {"type": "object", "required": [name], "properties": {name: schema}, "additionalProperties": False}
        for name, schema in kinds.items()
    ]
    return {"description": "One file or several as base64, or as addresses; exactly one of the keys", "oneOf": bodies}
