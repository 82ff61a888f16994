"""One OpenAPI document for everything behind the router's address, and the page that shows it without a network."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from registry.contract import catalog
from registry.core.settings import settings
from serving.client.schemas import Health, ModelList
from serving.openapi.calls import SECURITY, model_paths, model_schemas
from serving.openapi.docs import swagger_page
from serving.openapi.parts import header, json_content, json_schemas
from serving.wire.request_ids import REQUEST_ID_HEADER

ASSETS = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript", "favicon.png": "image/png"}
_RETRY_AFTER = {"Retry-After": header("Seconds", "integer")}
_ROUTER_REFUSALS: dict[str, dict[str, Any]] = {
    status: {"description": text, "headers": headers, "content": json_content("Error")}
    for status, text, headers in (
        (
            "401",
            "A key is required, and there is none, or one that is unknown, expired or revoked",
            {"WWW-Authenticate": {"schema": {"type": "string"}}},
        ),
        ("403", "The key is for other models or actions", {}),
        ("429", "Over the key's quota, or too many requests are waiting", _RETRY_AFTER),
        ("503", "The version died, or did not answer in time; without Retry-After: none is released", _RETRY_AFTER),
    )
}
_TYPED_REFUSALS = {
    "404": "This caller has no such prediction; one that is a moment old may still come, see Retry-After",
    "408": "The body did not come within request_timeout_s",
    "409": "Not in this state: `found` says which, e.g. a prediction that failed has nothing to label",
    "413": "The body is larger than allowed",
    "415": "The body is not JSON and not a form",
    "422": "The request cannot be used: `found`, `expected` and `fix` say why, and what to do",
}
_RATE_LIMITS = {
    "RateLimit-Limit": "Requests per minute or month, whichever has fewer left",
    "RateLimit-Remaining": "How many of them are left",
    "RateLimit-Reset": "Seconds until there are more",
}


@cache
def document() -> dict[str, Any]:
    """OpenAPI 3.1. Loads the typed routes, and so Django."""
    models = model_paths([catalog.get(name) for name in catalog.names()], "/v1/models/{model}")
    for path, methods in models.items():
        for operation in methods.values():
            _add_router_answers(operation)
            operation["tags"] = ["models"]
            if path.endswith("/schema"):
                operation["security"] = [{}]
    typed = _typed()
    health = _open_call("healthz", "Whether the router is alive", "router", "Health", "The router is alive")
    listed = _open_call("models", "The models, and which version of each is live", "models", "ModelList", "The models")
    return {
        "openapi": "3.1.0",
        "info": {"title": "visionloop", "version": "1", "description": _introduction()},
        "servers": [{"url": settings().public_url or "/", "description": "this router"}],
        "security": [{"bearer": []}, {"header": []}, *([] if settings().keys_required else [{}])],
        "paths": {"/v1/models": listed, **models, **typed["paths"], "/healthz": health},
        "components": {
            "schemas": typed["components"]["schemas"] | model_schemas() | json_schemas(ModelList, Health),
            "headers": {
                REQUEST_ID_HEADER: header("The caller's own id of the request, or a new one", "string"),
                **{name: header(text, "integer") for name, text in _RATE_LIMITS.items()},
            },
            "securitySchemes": SECURITY,
        },
    }


_REQUEST_ID = {
    "name": REQUEST_ID_HEADER,
    "in": "header",
    "description": "The caller's own id of the request, which the answer repeats",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:/+=@-]{1,128}$"},
}


def _add_router_answers(operation: dict[str, Any]) -> None:
    """Adds what the router itself takes and answers: the request's id, refusals, rate limit headers."""
    operation["parameters"] = [*operation.get("parameters", ()), _REQUEST_ID]
    limits = {name: {"$ref": f"#/components/headers/{name}"} for name in (*_RATE_LIMITS, REQUEST_ID_HEADER)}
    operation["responses"] = {
        status: {**one, "headers": {**limits, **one.get("headers", {})}}
        for status, one in {**operation["responses"], **_ROUTER_REFUSALS}.items()
    }


def _typed() -> dict[str, Any]:
    """django-ninja's document of the typed routes, with texts for errors, and with examples."""
    from serving.api.routes import api

    typed: dict[str, Any] = json.loads(json.dumps(api.get_openapi_schema(path_prefix=""), default=str))
    for path, methods in typed["paths"].items():
        for method, operation in methods.items():
            for status in operation["responses"].keys() & _TYPED_REFUSALS.keys():
                operation["responses"][status]["description"] = _TYPED_REFUSALS[status]
            _add_router_answers(operation)
            operation["description"] = f"{operation.get('description', '')}\n\n{_example(method, path)}"
    return typed


def _open_call(name: str, summary: str, tag: str, schema: str, description: str) -> dict[str, Any]:
    """A GET that needs no key."""
    answers = {"200": {"description": description, "content": json_content(schema)}}
    return {"get": {"operationId": name, "summary": summary, "tags": [tag], "security": [{}], "responses": answers}}


def _introduction() -> str:
    return (
        "Send `Authorization: Bearer vl_...` or `X-API-Key: vl_...`. Every error is JSON: what was found, what was "
        "expected, how to fix it. The Python client is `visionloop_client`, a wheel that needs httpx and pydantic "
        "only; whoever runs this has it (`make client-wheel`)."
    )


def _example(method: str, path: str) -> str:
    address = settings().public_address + path.replace("{prediction_id}", "$ID")
    curl = "curl -H 'Authorization: Bearer vl_...'"
    call, line = {
        "get /v1/predictions": (f"{curl} '{address}?limit=10'", 'client.predictions(outcome="ok", limit=10)'),
        "get /v1/predictions/{prediction_id}": (f"{curl} {address}", "client.prediction(prediction_id)"),
        "delete /v1/predictions/{prediction_id}": (
            f"{curl} -X DELETE {address}",
            "client.delete_prediction(prediction_id)",
        ),
        "post /v1/predictions/{prediction_id}/feedback": (
            f"{curl} -F label=apple {address}",
            'client.feedback(prediction_id, "apple")',
        ),
        "get /v1/tasks": (f"{curl} '{address}?state=running'", 'client.tasks(state="running")'),
        "get /v1/whoami": (f"{curl} {address}", "client.whoami()"),
        "post /v1/keys/self/rotate": (f"{curl} -X POST '{address}?grace_s=3600'", "client.rotate(grace_s=3600).key"),
        "get /v1/keys/self/webhook-secret": (f"{curl} {address}", "client.webhook_secret().secret"),
        "get /v1/usage": (f"{curl} {address}", "client.usage()"),
    }[f"{method} {path}"]
    opened = f'client = Client("{settings().public_address}", key="vl_...")'
    python = f"from visionloop_client import Client\n\n{opened}\nprint({line})"
    return f"```sh\n{call}\n```\n\n```python\n{python}\n```"


def page() -> str:
    """Swagger UI from the assets that django-ninja ships."""
    return swagger_page("visionloop API", "/openapi.json", "/docs", "favicon.png")


def asset(name: str) -> bytes | None:
    """A file of the page; only the ones in `ASSETS`."""
    return _assets().get(name)


@cache
def _assets() -> dict[str, bytes]:
    import ninja

    folder = Path(ninja.__file__).parent / "static" / "ninja"
    return {name: (folder / name).read_bytes() for name in ASSETS}
