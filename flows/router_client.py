"""The Python client, set up for this stack's own commands."""

from __future__ import annotations

from registry.core.settings import settings
from serving.client import Client


def router_client(address: str = "", *, timeout_s: float | None = None) -> Client:
    """A client with this machine's key. It ignores proxies, which cannot reach a router of this machine.

    Args:
        address: of the router. Default: this stack's.
        timeout_s: of one try. Default: `request_timeout_s`.
    """
    config = settings()
    return Client(
        address or config.router_address,
        config.api_key or None,
        timeout_s=timeout_s or config.request_timeout_s,
        trust_env=False,
    )
