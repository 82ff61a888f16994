"""Routers that ask for keys, in front of the services of `tests/serving`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from registry.core.settings import settings
from serving.access import keys
from serving.releases import deploy, endpoints, store
from tests.bundles import MODEL
from tests.serving.conftest import PROJECT, Packaged, Processes, Running
from tests.serving.removal import withdraw
from tests.waiting import until


def start_router(processes: Processes, name: str, **changed: str) -> str:
    """A router with other settings, in a process of its own; returns its address."""
    port = deploy.free_port()
    env = {**settings().child_environment(), "PYTHONPATH": str(PROJECT), "VISIONLOOP_ROUTER_PORT": str(port)}
    env.update({f"VISIONLOOP_{key.upper()}": value for key, value in changed.items()})
    address = f"http://127.0.0.1:{port}"
    processes.start(name, [sys.executable, "-m", "serving.launchers.router"], env, f"{address}/healthz")
    return address


@pytest.fixture(scope="package")
def guarded(project: Path, processes: Processes) -> Iterator[str]:
    """A router that asks for keys."""
    yield start_router(processes, "guarded", require_keys="true", quota_per_minute="0")
    processes.stop("guarded")


@pytest.fixture(scope="package")
def live(guarded: str, service: Running, packaged: dict[int, Packaged]) -> Iterator[str]:
    """The same with version 1 behind it."""
    endpoints.announce(MODEL, 1, service.url, packaged[1].tag)
    store.switch(MODEL, 1)
    until(lambda: MODEL in httpx.get(f"{guarded}/-/routes").json()["routes"])
    yield guarded
    withdraw(MODEL)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def known(router: str, token: str) -> str:
    """Waits until the router knows a new key, two seconds at most; returns the key."""
    until(lambda: httpx.get(f"{router}/v1/nothing", headers=bearer(token)).status_code != 401, 2)
    return token


@pytest.fixture(scope="module")
def other(guarded: str) -> str:
    """A key that may do what keys do by default, and is not the one that a test asks with."""
    return known(guarded, keys.create("somebody else")[1])


@pytest.fixture(scope="module")
def admin(guarded: str) -> str:
    return known(guarded, keys.create("admin", actions=["admin"])[1])
