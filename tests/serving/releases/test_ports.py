"""The port of a service: nobody listens on it, and no outgoing connection can take it before the service does."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from registry.core.errors import MissingService
from serving.releases import deploy


def test_an_outgoing_connection_gets_none_of_the_ports() -> None:
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        given = [
            stack.enter_context(socket.create_connection(server.getsockname())).getsockname()[1] for _ in range(50)
        ]
    assert not set(given) & set(deploy.PORTS)
    assert deploy.free_port() in deploy.PORTS


def test_a_busy_port_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    first = deploy.free_port()
    monkeypatch.setattr(deploy, "PORTS", range(first, first + 1))
    with socket.create_server(("127.0.0.1", first)), pytest.raises(MissingService, match="no free port"):
        deploy.free_port()
    assert deploy.free_port() == first
