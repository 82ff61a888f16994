"""One OpenAPI document for everything behind the router's address, and the page that shows it without a network."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from registry.contract import catalog
from registry.contract.spec import ModelSpec
from registry.core.settings import settings
from serving.service import documentation
from serving.wire.call import ServedVersion

ASSETS = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript", "favicon.png": "image/png"}
_OF_A_SERVICE = ("/healthz", "/livez", "/readyz", "/metrics")
"""Not in the document, which is for customers: these are for those who run the services."""
_ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
_WAIT = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}}
_AT_THE_DOOR: dict[str, dict[str, Any]] = {
    "401": {
        "description": "No key where one is needed, or one that is unknown, expired or revoked",
        "headers": {"WWW-Authenticate": {"schema": {"type": "string"}}},
        "content": _ERROR,
    },
    "403": {"description": "A key for other models or actions", "content": _ERROR},
    "429": {
        "description": "Over the key's quota, or too many requests wait already",
        "headers": _WAIT,
        "content": _ERROR,
    },
    "503": {
        "description": "The version died, or has not answered in time; without Retry-After: none is released",
        "headers": _WAIT,
        "content": _ERROR,
    },
}
_SAID = {
    "404": "No such prediction of this caller; one that is a moment old may still come, see Retry-After",
    "408": "The body did not come within request_timeout_s",
    "413": "A larger body than allowed",
    "415": "Not JSON and not a form",
    "422": "The request cannot be used: it says what was found, what was expected and how to fix it",
}
_LIMITS = {
    "RateLimit-Limit": "Requests a minute or month, whichever has less left",
    "RateLimit-Remaining": "Of them, how many are left",
    "RateLimit-Reset": "Seconds until there are more",
}


@cache
def document() -> dict[str, Any]:
    """OpenAPI 3.1. Import of the typed routes, and so Django, is needed."""
    paths: dict[str, Any] = {"/v1/models": {"get": _models()}}
    schemas: dict[str, Any] = {}
    for name in catalog.names():
        found = documentation.openapi(catalog.get(name), ServedVersion(name, 0, ""))
        schemas |= found["components"]["schemas"]
        for path in (one for one in found["paths"] if one not in _OF_A_SERVICE):
            for method, operation in found["paths"][path].items():
                paths.setdefault(f"/v1/models/{name}{path}", {})[method] = _routed(catalog.get(name), operation)
    typed = _typed()
    return {
        "openapi": "3.1.0",
        "info": {"title": "visionloop", "version": "1", "description": _introduction()},
        "servers": [{"url": "/", "description": "this router"}],
        "security": [{"bearer": []}, {"header": []}, *([] if settings().keys_required else [{}])],
        "paths": paths | typed["paths"] | {"/healthz": {"get": _healthz()}},
        "components": {
            "schemas": schemas | typed["components"]["schemas"] | _LISTS,
            "headers": {name: {"description": text, "schema": {"type": "integer"}} for name, text in _LIMITS.items()},
            "securitySchemes": documentation.SECURITY,
        },
    }


def _routed(spec: ModelSpec, operation: dict[str, Any]) -> dict[str, Any]:
    """A service's operation as the router has it."""
    responses = {**operation["responses"], **_AT_THE_DOOR}
    open_to_all = operation["operationId"] == "schema"
    return {
        **operation,
        "operationId": f"{spec.name}_{operation['operationId']}",
        "tags": [spec.name],
        **({"security": [{}]} if open_to_all else {}),
        "responses": {
            status: {**one, "headers": {**_limits(), **one.get("headers", {})}} for status, one in responses.items()
        },
    }


def _typed() -> dict[str, Any]:
    """What django-ninja says of the typed routes, with our error schema under its one name."""
    from serving.api.routes import api

    found = json.loads(json.dumps(api.get_openapi_schema(path_prefix=""), default=str))
    text = json.dumps(found).replace("#/components/schemas/Problem", "#/components/schemas/Error")
    typed: dict[str, Any] = json.loads(text)
    typed["components"]["schemas"].pop("Problem")
    for path, methods in typed["paths"].items():
        for operation in methods.values():
            _complete(path, operation)
    return typed


def _complete(path: str, operation: dict[str, Any]) -> None:
    for status, one in operation["responses"].items():
        if status in _AT_THE_DOOR:
            one |= _AT_THE_DOOR[status]
        elif status in _SAID:
            one["description"] = _SAID[status]
        one["headers"] = {**_limits(), **one.get("headers", {})}
    operation["description"] = f"{operation.get('description', '')}\n\n{_example(path)}"


def _limits() -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in _LIMITS}


_TEXT = {"type": "string"}
_MEDIA = {"type": "array", "items": _TEXT}
_MODEL: dict[str, Any] = {
    "name": {**_TEXT, "description": "as in its address"},
    "title": {**_TEXT, "description": "for people"},
    "task": {**_TEXT, "description": "segmentation, detection, classification or features"},
    "version": {"type": ["integer", "null"], "description": "that gets the traffic; null: none is released"},
    "media_in": {**_MEDIA, "description": "content types of the files that it takes"},
    "media_out": {**_MEDIA, "description": "content types that it can answer with, the default first"},
    "predict": {**_TEXT, "description": "path to send files to"},
    "docs": {**_TEXT, "description": "path of a page about its calls"},
}
_LISTS: dict[str, Any] = {
    "Model": {
        "type": "object",
        "description": "A model, and which version of it is live",
        "required": list(_MODEL),
        "properties": _MODEL,
    },
    "ModelList": {
        "type": "object",
        "description": "All models that there are",
        "required": ["models"],
        "properties": {"models": {"type": "array", "items": {"$ref": "#/components/schemas/Model"}}},
    },
    "Health": {
        "type": "object",
        "description": "Says that the router is alive",
        "required": ["status"],
        "properties": {"status": {"const": "ok"}},
    },
}


def _answered(name: str, description: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
    return {"200": {"description": description, "content": content}}


def _models() -> dict[str, Any]:
    return {
        "operationId": "models",
        "summary": "The models, and which version of each is live",
        "tags": ["models"],
        "security": [{}],
        "responses": _answered("ModelList", "The models"),
    }


def _healthz() -> dict[str, Any]:
    return {
        "operationId": "healthz",
        "summary": "The router is alive",
        "tags": ["router"],
        "security": [{}],
        "responses": _answered("Health", "It is"),
    }


def _introduction() -> str:
    return (
        "Send `Authorization: Bearer vl_...` or `X-API-Key: vl_...`. Every error is JSON: what was found, what was "
        "expected, how to fix it. The Python client is `serving.client.Client` of visionloop's source: a few files "
        "and httpx, which whoever runs this can hand out (`docs/api.md` names them)."
    )


def _example(path: str) -> str:
    address = settings().router_address + path.replace("{prediction_id}", "$ID")
    key = "-H 'Authorization: Bearer vl_...'"
    call, line = {
        "feedback": (f"curl {key} -F label=apple {address}", 'client.feedback(prediction_id, "apple")'),
        "usage": (f"curl {key} {address}", "client.usage()"),
    }.get(path.rpartition("/")[2], (f"curl {key} {address}", "client.prediction(prediction_id)"))
    opened = f'client = Client("{settings().router_address}", key="vl_...")'
    python = f"from serving.client import Client\n\n{opened}\nprint({line})"
    return f"```sh\n{call}\n```\n\n```python\n{python}\n```"


def page() -> str:
    """Swagger UI from the assets that django-ninja ships; nothing is fetched from elsewhere."""
    return """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>visionloop API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" href="/docs/favicon.png">
</head>
<body>
<noscript>The API is described in <a href="/openapi.json">openapi.json</a>.</noscript>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({url: "/openapi.json", dom_id: "#swagger-ui", validatorUrl: null, tryItOutEnabled: true,
  docExpansion: "none"});
</script>
</body>
</html>
"""


def asset(name: str) -> bytes | None:
    """A file of the page; only the ones in `ASSETS`."""
    return _assets().get(name)


@cache
def _assets() -> dict[str, bytes]:
    import ninja

    folder = Path(ninja.__file__).parent / "static" / "ninja"
    return {name: (folder / name).read_bytes() for name in ASSETS}
