"""What a request needs, by its method and path.

Only one spelling of a path is allowed. Otherwise an encoded path (`/v1/%6Dodels/...`) could mean one thing to the
middleware and another to a service that decodes it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.types import Scope

from registry.contract import catalog
from registry.core.errors import NotFound
from serving.access.key_checks import ALL

# RFC 3986's unreserved characters, and no segment that is empty, `.` or `..`. All our paths are made of these: names,
# hex digits of ids, file names of pages.
_PLAIN = re.compile(r"(/(?!\.\.?(/|$))[A-Za-z0-9._~-]+)*/?")

# Documents and probes.
_OPEN = frozenset(("/", "/healthz", "/v1/models", "/openapi.json", "/docs"))
_OPEN_OF_A_MODEL = frozenset(("", "docs", "openapi.json", "schema", "healthz", "livez", "readyz"))
_ASSETS = "/docs/"
_ASSETS_OF_A_MODEL = "static_content/"


@dataclass(frozen=True)
class Requirement:
    """What a caller must have.

    Attributes:
        open: nothing is needed, and nothing is counted.
        free: the request is neither counted nor taken from a quota.
        local: the caller must be on this machine; nothing else is needed. With `action`, such a key will do, too.
        action: for `serving.access.keys.ApiKey.may`; "" where any key will do.
        model: the model that the key must reach; "" where there is none, or where a route checks it later.
    """

    open: bool = False
    free: bool = False
    local: bool = False
    action: str = ""
    model: str = ""

    @property
    def counted_model(self) -> str:
        """The model under which the request is counted. Unknown names are left out, or callers could fill the table."""
        return self.model if self.model in catalog.names() else ""


METRICS = "/metrics"
OF_METRICS = Requirement(local=True, free=True, action="admin", model=ALL)
"""Who may read the metrics of a whole process: this machine, or a key for all models."""


def requirement(scope: Scope) -> Requirement:
    """What the request with this ASGI scope needs. Raises NotFound for a path with another spelling than ours."""
    path = _plain(scope)
    reads = scope["method"] in ("GET", "HEAD")
    if path.startswith("/-/"):
        return Requirement(local=True)
    if reads and path == METRICS:
        return OF_METRICS
    if reads and (path in _OPEN or path.startswith(_ASSETS)):
        return Requirement(open=True)
    parts = path.split("/", 4)
    if parts[:3] == ["", "v1", "models"] and len(parts) == 5:
        rest = parts[4]
        if reads and (rest in _OPEN_OF_A_MODEL or _is_asset(rest)):
            return Requirement(open=True)
        # Whose task it is, the service checks; see serving.tasks.routes.
        known = rest.startswith("tasks/") and (reads or scope["method"] == "DELETE")
        action = "admin" if rest.rstrip("/") == "metrics" else "tasks" if known else "predict"
        return Requirement(action=action, model=parts[3])
    if reads and path == "/v1/whoami":
        return Requirement(free=True)
    if path == "/v1/tasks":
        return Requirement(action="tasks")
    if parts[:3] == ["", "v1", "predictions"]:
        return Requirement(action="read" if reads else "feedback")
    return Requirement()


def _plain(scope: Scope) -> str:
    path = str(scope["path"])
    raw = scope.get("raw_path") or path.encode()
    if raw != path.encode() or not _PLAIN.fullmatch(path):
        raise NotFound(
            f"there is no {raw.decode('latin-1')[:200]}",
            expected="a path of letters, digits, `.`, `_`, `~`, `-` and single slashes, none of them encoded",
            fix="send the path unencoded: GET /v1/models lists the models, /docs shows the rest",
        )
    return path


def _is_asset(rest: str) -> bool:
    name = rest.removeprefix(_ASSETS_OF_A_MODEL)
    return name != rest and "/" not in name and not name.startswith(".")
