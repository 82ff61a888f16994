"""OpenAPI of a model's calls. A service describes one version with it, the router all models under `{model}`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from registry.contract.spec import ModelSpec
from registry.core.settings import settings
from serving.client.schemas import Embedding, Error, ModelDescription, Prediction, PredictionList, Task
from serving.openapi.docs import examples
from serving.openapi.parts import (
    Schema,
    boolean,
    detector_parameters,
    extra_parameters,
    file_in_json,
    format_parameter,
    header,
    idempotency_header,
    json_content,
    json_schemas,
    prefer_header,
    query_parameter,
    refused,
    version_parameter,
    webhook_parameter,
)
from serving.query.parameters import parameter_names
from serving.wire.call import ServedVersion
from serving.wire.headers import MODEL_HEADER, PREDICTION_ID_HEADER, ROLE_HEADER, VERSION_HEADER
from serving.wire.negotiation import JPEG, JSON, NPY, render_offers
from serving.wire.uploads import FIELD, MULTIPART, RAW

SECURITY: Schema = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "a key `vl_...`, from whoever runs this"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
"""How a key is sent to a router, by name."""

_POST_REFUSALS = (401, 403, 406, 408, 409, 413, 415, 422, 429, 500, 503)


def document(spec: ModelSpec, served: ServedVersion) -> Schema:
    """The OpenAPI 3.1 document of a service. Its server address is relative, so that it holds behind the router too."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": spec.title,
            "version": str(served.version),
            "description": " ".join(filter(None, (f"Task: {spec.task}.", spec.caution))),
        },
        "servers": [{"url": "./", "description": "this version"}],
        "security": [{}, *({name: []} for name in SECURITY)],  # a service requires no key, a router in front may
        "paths": model_paths([spec]) | _probes(),
        "components": {"securitySchemes": SECURITY, "schemas": model_schemas()},
    }


def model_schemas() -> dict[str, Schema]:
    """The component schemas that `model_paths` refers to."""
    schemas = json_schemas(Prediction, Embedding, PredictionList, ModelDescription, Task, Error)
    return schemas | {"PredictionRequest": file_in_json()}


@dataclass(frozen=True)
class _Operation:
    """A POST that answers a file.

    Attributes:
        specs: the models that have it.
        offers: media types of the answer; the first is the default.
        described: those that the document describes: a generated client reads every answer of a status alike.
        schema: name of the JSON answer's component schema.
        extras: whether it takes `?explain=` and `?image=`.
    """

    name: str
    summary: str
    text: str
    specs: Sequence[ModelSpec]
    offers: Sequence[str]
    described: Sequence[str]
    schema: str = "Prediction"
    extras: bool = False


def model_paths(specs: Sequence[ModelSpec], prefix: str = "") -> dict[str, Schema]:
    """The calls of models, by path.

    Args:
        specs: the models.
        prefix: of each path. `{model}` in it becomes a path parameter: one of `specs`.
    """
    parameters = [_model_parameter(specs)] if "{model}" in prefix else []
    paths = {f"/{one.name}": {"post": _post(one, bool(parameters))} for one in _operations(specs)}
    offers = _distinct(spec.media_out for spec in specs)
    paths |= _task_paths(paths["/predict"]["post"], parameters, offers)
    paths["/schema"] = {
        "get": {
            "operationId": "schema",
            "summary": "Classes, thresholds, media types, limits, and the JSON schema of an answer",
            "parameters": parameters,
            "responses": {
                "200": {
                    "description": "The description of the live version",
                    "content": json_content("ModelDescription"),
                },
                **refused(503),
            },
        }
    }
    return {f"{prefix}{path}": item for path, item in paths.items()}


def _model_parameter(specs: Sequence[ModelSpec]) -> Schema:
    names = {"type": "string", "enum": [spec.name for spec in specs]}
    return {"name": "model", "in": "path", "required": True, "description": "name of the model", "schema": names}


def _operations(specs: Sequence[ModelSpec]) -> list[_Operation]:
    from registry.versions.explain import COPIES  # loads PIL, which a service of scans never needs otherwise

    rendered = _distinct(render_offers(spec.media_out, False) for spec in specs)
    endings = ", ".join(_distinct(spec.extensions for spec in specs))
    operations = [
        _Operation(
            "predict",
            f"Predict one file or several ({endings})",
            "Several files get a list of answers, each with its own prediction id. An error in one file is its own "
            "entry, with the status that the file would get alone.",
            specs,
            _distinct(spec.media_out for spec in specs),
            (JSON,),
            extras=True,
        ),
        _Operation(
            "render",
            "The answer to one file as a picture, a mask or a video",
            "Predicts and logs as `predict` does, but answers for people: the annotated picture of a picture, the "
            "annotated video of a video. Accept chooses among the formats that the model has.",
            specs,
            rendered,
            rendered,
        ),
        _Operation(
            "explain",
            "A heat map that shows which part of the picture the answer rests on",
            f"{COPIES} copies of the input, each with another window hidden, go through the network. The heat map "
            "shows where hiding weakened the answer. Costs many times the prediction. Not for videos.",
            specs,
            (JPEG, JSON),
            (JPEG,),
        ),
    ]
    if embedding := [spec for spec in specs if spec.embeds]:
        kinds = "; ".join(_distinct([spec.embeds] for spec in embedding))
        text = f"The embedding describes {kinds}. Inputs that look alike have embeddings that lie near each other."
        operations.append(
            _Operation(
                "embed", "The embedding of one file or several", text, embedding, (JSON, NPY), (JSON,), "Embedding"
            )
        )
    return operations


def _distinct(lists: Iterable[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(one for each in lists for one in each))


def _post(operation: _Operation, has_model: bool) -> Schema:
    binary = {"type": "string", "format": "binary"}
    answers: Schema = {media: {"schema": binary} for media in operation.described}
    if JSON in operation.described:
        kinds = [{"$ref": f"#/components/schemas/{name}"} for name in (operation.schema, "PredictionList")]
        answers[JSON] = {"schema": {"oneOf": kinds}}
    files = {"type": "array", "items": binary, "minItems": 1, "maxItems": settings().max_inputs}
    body = {
        MULTIPART: {"schema": {"type": "object", "required": [FIELD], "properties": {FIELD: files}}},
        **json_content("PredictionRequest"),
        **{media: {"schema": binary} for media in _distinct([*(spec.media_in for spec in operation.specs), (RAW,)])},
    }
    prediction_id = header("Id of the prediction, for feedback. Several files have theirs in `results`", "string")
    headers = {
        PREDICTION_ID_HEADER: prediction_id,
        MODEL_HEADER: header("Name of the model", "string"),
        VERSION_HEADER: header("Version that answered", "integer"),
        ROLE_HEADER: header("Part that the version plays in the release for this request", "string"),
        "Server-Timing": header("Milliseconds by step", "string"),
    }
    errors = refused(*_POST_REFUSALS)
    detects = operation.name != "embed" and any(parameter_names(spec) for spec in operation.specs)
    now = settings()
    return {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": f"{operation.text}\n\nSend the file as the body, in the form field `{FIELD}` (repeated for "
        f"several) or as base64 in JSON; at most {now.max_upload_mb} MiB and {now.max_inputs} files. The answer is "
        f"{' or '.join(operation.offers)}, as the Accept header says.\n\n"
        f"{examples(operation.specs[0], operation.name, operation.offers)}",
        "parameters": [
            *([_model_parameter(operation.specs)] if has_model else ()),
            *([_format(operation.offers)] if operation.offers == operation.described else ()),
            *(extra_parameters() if operation.extras else ()),
            *(detector_parameters() if detects else ()),
            version_parameter(),
            idempotency_header(),
        ],
        "requestBody": {"required": True, "content": body},
        "responses": {
            "200": {"description": "The answer", "headers": headers, "content": answers},
            **{status: {**one, "headers": {PREDICTION_ID_HEADER: prediction_id}} for status, one in errors.items()},
        },
    }


def _format(offers: Sequence[str]) -> Schema:
    return format_parameter("Answer format, where Accept cannot be set", offers)


def _task_paths(predict: Schema, parameters: list[Schema], offers: Sequence[str]) -> dict[str, Schema]:
    """The calls about tasks, by path. `predict`: the operation that a task runs in the background; `offers`: the media
    types of its answer."""
    task_id = {"name": "id", "in": "path", "required": True, "description": "id of the task"}
    of_task = [*parameters, {**task_id, "schema": {"type": "string"}}]
    submitted = {
        "Location": header("Path of the task, as `url`", "string"),
        "Retry-After": header("Seconds after which to look at it", "integer"),
    }
    purge = "Remove the task, which must be over, and its files; afterwards it is 404"
    submit = {
        "operationId": "submit",
        "summary": "Submit what takes longer than a caller waits for: a long video, many files",
        "description": "Takes what `predict` takes. The task survives a restart of the service.",
        "parameters": [*predict["parameters"], _format(offers), webhook_parameter(), prefer_header()],
        "requestBody": predict["requestBody"],
        "responses": {
            "200": _task("With `Prefer: wait`: the task is over already"),
            "202": {**_task("The task was submitted"), "headers": submitted},
            **refused(406, 408, 409, 413, 415, 422, 429, 500, 503, 507),
        },
    }
    look = _about_task("task", "How far a task is", [*of_task, prefer_header()], _task("The task"), (404, 503))
    cancel = _about_task(
        "cancel",
        "Cancel a task, which may be done twice; with `purge`, remove one that is over",
        [*of_task, query_parameter("purge", purge, boolean())],
        _task("The task as it is now, or was before its removal"),
        (404, 409, 422, 503),
    )
    kinds = {media: {"schema": {"type": "string", "format": "binary"}} for media in offers}
    kinds |= predict["responses"]["200"]["content"]
    result = _about_task(
        "result",
        "The result of a task that is done; of one that failed, the error",
        of_task,
        {"description": "The answer that `predict` would give", "content": kinds},
        (404, 406, 409, 413, 415, 422, 500, 503),
    )
    return {
        "/tasks": {"post": submit},
        "/tasks/{id}": {"get": look, "delete": cancel},
        "/tasks/{id}/result": {"get": result},
    }


def _about_task(name: str, summary: str, parameters: list[Schema], ok: Schema, refusals: tuple[int, ...]) -> Schema:
    return {
        "operationId": name,
        "summary": summary,
        "description": "Where keys are required: a task of the key that submitted it, or any task with a key for the "
        "action `admin`.",
        "parameters": parameters,
        "responses": {"200": ok, **refused(*refusals)},
    }


def _task(description: str) -> Schema:
    return {"description": description, "content": json_content("Task")}


def _probes() -> dict[str, Schema]:
    return {
        "/healthz": _probe("healthz", "Whether the process is alive", "The process is alive"),
        "/livez": _probe("livez", "Whether the process is alive", "The process is alive"),
        "/readyz": _probe(
            "readyz",
            "Whether the service takes traffic",
            "The golden samples passed, and the service is not being stopped",
            "The service is still loading, or is being stopped",
        ),
        "/metrics": _probe("metrics", "Prometheus metrics", "The metrics in Prometheus' text format"),
    }


def _probe(operation: str, summary: str, ok: str, unavailable: str = "") -> Schema:
    text = {"text/plain": {"schema": {"type": "string"}}}
    answers = {"200": ok, "503": unavailable}
    responses = {status: {"description": one, "content": text} for status, one in answers.items() if one}
    return {"get": {"operationId": operation, "summary": summary, "responses": responses}}
