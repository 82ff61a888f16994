"""What a request needs, by its method and path."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

from starlette.types import Scope

from registry import catalog

# Documents and probes. Compared as the caller encoded the path, as the router passes it on: another spelling of the
# same path is not public.
_OPEN = frozenset(("/healthz", "/v1/models", "/openapi.json", "/docs"))
_OPEN_OF_A_MODEL = frozenset(("", "docs", "openapi.json", "schema", "healthz", "livez", "readyz"))
_ASSETS = "/docs/"
_ASSETS_OF_A_MODEL = "static_content/"


@dataclass(frozen=True)
class Need:
    """What a caller must have.

    Attributes:
        open: nothing at all, and nothing is counted.
        local: to be on this machine; then nothing else.
        action: as `serving.access.keys.Grant.may` knows them; empty: any key will do.
        model: the model that the key must reach; empty: none, or found out later.
    """

    open: bool = False
    local: bool = False
    action: str = ""
    model: str = ""

    @property
    def counted_model(self) -> str:
        """The model under which the request is counted: only names that exist, or callers could fill the table."""
        return self.model if self.model in catalog.names() else ""


def need(scope: Scope) -> Need:
    """What the request with this ASGI scope needs."""
    path = scope.get("raw_path", b"").decode("latin-1") or scope["path"]
    reads = scope["method"] in ("GET", "HEAD")
    if path.startswith("/-/"):
        return Need(local=True)
    if reads and (path in _OPEN or path.startswith(_ASSETS)):
        return Need(open=True)
    parts = path.split("/", 4)
    if parts[:3] == ["", "v1", "models"] and len(parts) == 5:
        rest = parts[4]
        if reads and (rest in _OPEN_OF_A_MODEL or _is_asset(rest)):
            return Need(open=True)
        # Whose task it is, the service checks; see serving.tasks.routes.
        known = rest.startswith("tasks/") and (reads or scope["method"] == "DELETE")
        action = "admin" if rest == "metrics" else "tasks" if known else "predict"
        return Need(action=action, model=unquote(parts[3]))
    if parts[:3] == ["", "v1", "predictions"]:
        return Need(action="read" if reads else "feedback")
    return Need()


def _is_asset(rest: str) -> bool:
    name = rest.removeprefix(_ASSETS_OF_A_MODEL)
    return name != rest and "/" not in name and "%" not in name and not name.startswith(".")
