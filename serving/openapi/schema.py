"""What a version takes and answers, for programs: GET /schema."""

from __future__ import annotations

from typing import Any

from registry.contract.spec import ModelSpec
from registry.core.settings import settings
from registry.versions.bundle import Manifest
from serving.client.schemas import Limits, ModelDescription, Prediction
from serving.wire.call import ServedVersion

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def describe(spec: ModelSpec, served: ServedVersion, manifest: Manifest, findings: dict[str, Any]) -> ModelDescription:
    """Classes, thresholds, media types, limits, and the JSON schema of an answer.

    Args:
        findings: of a golden sample; the schema is read off them.
    """
    now = settings()
    return ModelDescription(
        model=served.model,
        version=served.version,
        title=spec.title,
        task=spec.task,
        caution=spec.caution,
        classes=list(manifest.classes),
        thresholds=manifest.thresholds,
        media_in=list(spec.media_in),
        media_out=list(spec.media_out),
        extensions=list(spec.extensions),
        embeds=spec.embeds or None,
        limits=Limits(
            max_upload_mb=now.max_upload_mb,
            max_inputs=now.max_inputs,
            max_voxels_or_pixels=now.max_voxels,
            max_video_s=now.max_video_s,
            request_timeout_s=now.request_timeout_s,
        ),
        answer={"$schema": DIALECT, **answer_schema(findings, manifest.classes)},
    )


def answer_schema(findings: dict[str, Any], classes: tuple[str, ...] = ()) -> dict[str, Any]:
    """JSON schema of an answer: the fields of `Prediction`, and the model's own findings."""
    schema = Prediction.model_json_schema()
    own = {name: _schema_of(value, classes) for name, value in findings.items()}
    return {**schema, "properties": own | schema["properties"]}


def _schema_of(value: Any, classes: tuple[str, ...]) -> dict[str, Any]:
    """A schema that `value` satisfies. An object whose keys are classes is a mapping; a list has items of one kind."""
    if isinstance(value, dict):
        if value and set(value) <= set(classes):
            return {"type": "object", "additionalProperties": _schema_of(next(iter(value.values())), classes)}
        return {"type": "object", "properties": {name: _schema_of(one, classes) for name, one in value.items()}}
    if isinstance(value, list | tuple):
        return {"type": "array", "items": _schema_of(value[0], classes) if value else {}}
    for kind, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string")):
        if isinstance(value, kind):
            return {"type": name}
    return {}
