"""The API for Python programs: `Client`, and `AsyncClient` with the same methods to await. Needs httpx and
pydantic only.

May be imported from everywhere. Imports `registry.core.errors`.
"""

from serving.client.clients import AsyncClient, Client

__all__ = ["AsyncClient", "Client"]
