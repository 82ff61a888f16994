"""All routes of the web application and of the API, found where the processes themselves find them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.contrib.admindocs.views import simplify_regex
from django.urls import get_resolver
from starlette.routing import Mount, Route

from registry.contract import catalog
from serving.wire.call import ServedVersion

SERVICE = "/v1/models/{model}/{rest:path}"
"""Of the router: what it hands on to services."""


def of_pages() -> list[str]:
    """The paths of the web application's process, with parameters as <name>."""
    from serving.web.app import create_app

    found = []
    for path, route in _of_starlette(create_app().routes):
        if not isinstance(route, Mount):
            found.append(path)
        elif path:
            found.append(f"{path.rpartition('/')[0]}/<digest>/<path>")  # static files
    return [*found, *_of_django(get_resolver("serving.web.urls").url_patterns, "/")]


def of_api() -> list[str]:
    """The paths of the router's process and of the services behind it."""
    from serving.launchers.router import create_app
    from serving.service.app import create_api
    from serving.service.worker import Worker

    spec = catalog.get("fruit_features")  # the model whose services have all routes
    service = create_api(spec, Worker(Path("nowhere"), ServedVersion(spec.name, 1, "0" * 64), lambda _: None))
    found = [path for path, _ in _of_starlette(create_app().routes) if path != _shown(SERVICE)]
    return [*found, *(f"/v1/models/<model>{path}" for path, _ in _of_starlette(service.routes))]


def _of_starlette(routes: Iterable[Any]) -> list[tuple[str, Any]]:
    assert all(isinstance(one, Route | Mount) for one in routes)
    return [(_shown(one.path), one) for one in routes]


def _shown(path: str) -> str:
    return path.replace(":path}", "}").replace("{", "<").replace("}", ">")


def _of_django(patterns: Any, prefix: str) -> list[str]:
    found = []
    for one in patterns:
        path = prefix + simplify_regex(str(one.pattern)).lstrip("/")
        found += _of_django(one.url_patterns, path) if hasattr(one, "url_patterns") else [path]
    return found
