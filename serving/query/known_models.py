"""Models by the names that callers send."""

from __future__ import annotations

from registry.contract import catalog
from registry.core.errors import NotFound, did_you_mean


def check_model(name: str) -> None:
    """Raises NotFound for a model that there is not. A caller has no command line, so no command is named."""
    if name not in catalog.names():
        raise NotFound(
            f"there is no model {name[:80]!r}",
            expected=f"one of {', '.join(catalog.names())}",
            fix=did_you_mean(name, catalog.names(), "GET /v1/models lists them"),
        )
