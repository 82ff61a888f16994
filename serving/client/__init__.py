"""The API for Python programs: `Client`, and `AsyncClient` with the same methods to await. Needs only httpx
and pydantic.

May be imported from everywhere. Imports `registry.core.errors`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serving.client.clients import AsyncClient, Client

__all__ = ["AsyncClient", "Client"]


def __getattr__(name: str) -> Any:
    """Loads httpx with the first client: services and the router need only `serving.client.schemas`."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from serving.client import clients

    return getattr(clients, name)
