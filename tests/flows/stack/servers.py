"""A small server as a process of the stack."""

from __future__ import annotations

import sys

from flows.process import ProcessStatus
from flows.stack.control import Stack
from serving.releases.deploy import free_port

HOME = ("home",)
"""What a test brings up that needs no more than a supervisor."""


def start_server(stack: Stack, name: str = "small") -> tuple[ProcessStatus, str]:
    """Its status and its address."""
    port = free_port()
    address = f"http://127.0.0.1:{port}/"
    argv = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    return stack.start(name, argv, ready_url=address), address


def of(stack: Stack, name: str) -> ProcessStatus:
    return next(one for one in stack.status() if one.name == name)
