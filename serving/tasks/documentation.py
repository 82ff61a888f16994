"""The part of a service's OpenAPI document that is about tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serving.wire.negotiation import JSON, short_name

SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "Work in the background: how far it is",
    "required": ["id", "url", "result_url", "model", "state", "done", "total", "attempts"],
    "properties": {
        "id": {"type": "string"},
        "url": {"type": "string", "description": "path of the task"},
        "result_url": {"type": "string", "description": "path of its result, once it is done"},
        "model": {"type": "string"},
        "state": {"enum": ["queued", "running", "done", "failed", "cancelled"]},
        "done": {"type": "integer", "description": "frames of a video, else files"},
        "total": {"type": "integer"},
        "attempts": {"type": "integer", "description": "how often a service began it"},
        "media": {"type": ["string", "null"], "description": "of the result"},
        "error": {"type": ["object", "null"], "description": "why it failed, as an answer would tell it"},
        "created": {"type": ["string", "null"], "format": "date-time"},
        "begun": {"type": ["string", "null"], "format": "date-time"},
        "finished": {"type": ["string", "null"], "format": "date-time"},
        "removed": {"type": "boolean", "description": "in the answer to DELETE: whether it was removed"},
    },
}
_TASK = {JSON: {"schema": {"$ref": "#/components/schemas/Task"}}}
_ERROR = {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}
_REFUSALS = {
    404: "There is no such task of this caller",
    409: "Not in the state that this needs, or the result is gone",
    507: "The disk is full, or nearly",
}
_OWN = "Where keys are required: of the key that submitted it, or any with a key that has the action admin."
_PURGE = {
    "name": "purge",
    "in": "query",
    "description": "true: remove the task, which must be over, and its files; it is 404 then",
    "schema": {"type": "boolean", "default": False},
}
_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}


def paths(
    body: Mapping[str, Any],
    answers: Mapping[str, Any],
    offers: Sequence[str],
    extras: Sequence[Mapping[str, Any]],
    refusals: Mapping[int, str],
) -> dict[str, Any]:
    """Paths by name.

    Args:
        body: the request body of a prediction.
        answers: content of its answer, by media type.
        extras: query parameters of a prediction, without its format.
        refusals: what a status of a prediction's answer says.
    """

    def refused(*statuses: int) -> dict[str, Any]:
        says = {**refusals, **_REFUSALS}
        return {str(status): {"description": says[status], "content": _ERROR} for status in statuses}

    submitted = {
        "description": "Submitted; Location says where to look",
        "headers": {
            "Location": {"description": "path of the task, as `url`", "schema": {"type": "string"}},
            "Retry-After": {"description": "seconds until a look is worth it", "schema": {"type": "integer"}},
        },
        "content": _TASK,
    }
    form = {"type": "string", "enum": [short_name(media) for media in offers]}
    return {
        "/tasks": {
            "post": {
                "operationId": "submit",
                "summary": "Submit what takes longer than a caller waits for: a long video, many files",
                "description": "As `predict`. The task survives a restart of the service.",
                "parameters": [
                    {"name": "format", "in": "query", "description": "Format of the result", "schema": form},
                    *extras,
                ],
                "requestBody": body,
                "responses": {"202": submitted, **refused(406, 408, 413, 415, 422, 429, 500, 503, 507)},
            }
        },
        "/tasks/{id}": {
            "get": {
                "operationId": "task",
                "summary": "How far a task is",
                "description": _OWN,
                "parameters": [_ID],
                "responses": {"200": {"description": "The task", "content": _TASK}, **refused(404, 503)},
            },
            "delete": {
                "operationId": "cancel",
                "summary": "Cancel a task; with `purge`, remove one that is over",
                "description": f"Cancelling a task that is over changes nothing, so it may be sent again. {_OWN}",
                "parameters": [_ID, _PURGE],
                "responses": {
                    "200": {"description": "The task as it is now, or was before its removal", "content": _TASK},
                    **refused(404, 409, 422, 503),
                },
            },
        },
        "/tasks/{id}/result": {
            "get": {
                "operationId": "result",
                "summary": "The result of a task that is done; of one that failed, the error",
                "description": _OWN,
                "parameters": [_ID],
                "responses": {
                    "200": {"description": "As `predict` would have answered", "content": dict(answers)},
                    **refused(404, 406, 409, 413, 415, 422, 500, 503),
                },
            }
        },
    }
