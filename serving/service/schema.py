"""What a version takes and answers, for programs: GET /schema."""

from __future__ import annotations

from typing import Any

from registry.contract.spec import ModelSpec
from registry.core.settings import settings
from registry.versions.bundle import Manifest
from serving.wire.call import ServedVersion

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
LIMITS = ("max_upload_mb", "max_inputs", "max_voxels_or_pixels", "max_video_s", "request_timeout_s")
DESCRIPTION: dict[str, Any] = {
    "type": "object",
    "description": "What one version of a model takes and answers",
    "required": [
        "model", "version", "title", "task", "caution", "classes", "thresholds", "media_in", "media_out", "extensions",
        "embeds", "limits", "answer",
    ],
    "properties": {
        "model": _TEXT,
        "version": {"type": "integer"},
        "title": _TEXT,
        "task": _TEXT,
        "caution": {**_TEXT, "description": "what it must not be used for; empty: nothing is known"},
        "classes": {**_TEXTS, "description": "in the order of the network's outputs"},
        "thresholds": {"type": "object", "description": "above which something counts as found, by name"},
        "media_in": {**_TEXTS, "description": "content types of the files that it takes"},
        "media_out": {**_TEXTS, "description": "content types that it can answer with, the default first"},
        "extensions": {**_TEXTS, "description": "endings of the files that it takes"},
        "embeds": {"type": ["string", "null"], "description": "what its embedding describes; null: there is none"},
        "limits": {
            "type": "object",
            "description": "of one request; units are in the names",
            "required": list(LIMITS),
            "properties": {name: {"type": "number"} for name in LIMITS},
        },
        "answer": {"type": "object", "description": "JSON schema of an answer, with the model's own findings"},
    },
}  # fmt: skip
"""JSON schema of what `schema_of` returns."""


def schema_of(spec: ModelSpec, served: ServedVersion, manifest: Manifest, findings: dict[str, Any]) -> dict[str, Any]:
    """Classes, thresholds, media types, limits, and the JSON schema of an answer.

    Args:
        findings: what the version found in a golden sample: the schema is read off it.
    """
    return {
        "model": served.model,
        "version": served.version,
        "title": spec.title,
        "task": spec.task,
        "caution": spec.caution,
        "classes": list(manifest.classes),
        "thresholds": manifest.thresholds,
        "media_in": list(spec.media_in),
        "media_out": list(spec.media_out),
        "extensions": list(spec.extensions),
        "embeds": spec.embeds or None,
        "limits": limits(),
        "answer": {
            "$schema": DIALECT,
            **prediction_schema(findings, manifest.classes),
        },
    }


def limits() -> dict[str, float]:
    """Of one request; units are in the names."""
    now = settings()
    return {
        "max_upload_mb": now.max_upload_mb,
        "max_inputs": now.max_inputs,
        "max_voxels_or_pixels": now.max_voxels,
        "max_video_s": now.max_video_s,
        "request_timeout_s": now.request_timeout_s,
    }


def prediction_schema(findings: dict[str, Any], classes: tuple[str, ...] = ()) -> dict[str, Any]:
    """JSON schema of an answer: what all models' answers have, and the model's own findings."""
    common: dict[str, Any] = {
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
        "elapsed_ms": {"type": "number", "description": "what the explanation took"},
        "network_calls": {"type": "integer", "description": "inputs that went through the network for it"},
    }
    extras = {
        "file": {"type": "string", "description": "in a list of results: the name that the form gave the file"},
        "image": {**jpeg, "description": "the annotated picture, with ?image=true"},
        "explanation": {
            "type": "object",
            "description": "with ?explain=true",
            "required": ["image", "elapsed_ms", "network_calls"],
            "properties": explanation,
        },
    }
    own = {name: _described(value, classes) for name, value in findings.items()}
    return {
        "type": "object",
        "description": "The model's own findings beside these fields; units are in the names",
        "required": list(common),
        "properties": own | common | extras,
        "additionalProperties": True,
    }


def _described(value: Any, classes: tuple[str, ...]) -> dict[str, Any]:
    """A schema that `value` satisfies. An object with classes for keys is a mapping; lists are of one kind."""
    if isinstance(value, dict):
        if value and set(value) <= set(classes):
            return {"type": "object", "additionalProperties": _described(next(iter(value.values())), classes)}
        return {"type": "object", "properties": {name: _described(one, classes) for name, one in value.items()}}
    if isinstance(value, list | tuple):
        return {"type": "array", "items": _described(value[0], classes) if value else {}}
    for kind, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string")):
        if isinstance(value, kind):
            return {"type": name}
    return {}
