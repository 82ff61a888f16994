"""Takes a version into service and the old one out of it, without dropping a request."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from registry.errors import MissingService
from registry.settings import settings
from serving import releases
from serving.packaging import Version, process_name, serve_command, serve_environment
from serving.releases import Endpoint

CONFIRM_S = 10.0
DRAIN_S = 60.0


class Started(Protocol):
    """A process that runs."""

    @property
    def pid(self) -> int | None: ...


class Starter(Protocol):
    """Starts and stops processes: the supervisor's client (`flows.stack.control.Stack`), or a test's own."""

    def start(
        self, name: str, argv: Sequence[str], env: Mapping[str, str], ready_url: str, restart: bool = True
    ) -> Started:
        """Starts a process and waits until `ready_url` answers 200. Raises MissingService with its last words."""

    def stop(self, name: str) -> None:
        """Ends a process; says nothing if it is gone already."""


def roll_out(version: Version, tag: str, starter: Starter, router: str | None = None) -> Endpoint:
    """Gives the traffic of a model to a version that is packaged as `tag`; returns where it answers.

    The new service is started and must pass its golden samples; then the traffic is switched, the router must say
    that it follows, the requests on the old service finish, and the old service is stopped. What is live already
    is left as it is.

    Args:
        router: address that must confirm the switch; the default is this machine's, "" asks none.

    Raises:
        MissingService: the new service did not come up, or the router did not follow. The old version still
            gets the traffic then, and the new one is stopped.
    """
    address = settings().router_address if router is None else router
    old = releases.live(version.model)
    if old is not None and (old.version, old.tag) == (version.number, tag) and answers(old):
        return old
    name, port = process_name(tag), free_port()
    url = f"http://{settings().host}:{port}"
    try:
        started = starter.start(name, serve_command(tag, port), serve_environment(), f"{url}/readyz")
        new = releases.announce(version.model, version.number, url, tag, started.pid)
        releases.switch(version.model, version.number)
        if address:
            confirm(address, new)
    except BaseException:
        _take_back(version, old, starter, name)
        raise
    if old is not None and old.url != new.url:
        drain(address, old)
        if old.version != new.version:
            releases.retire(old.model, old.version)
        if process_name(old.tag) != name:
            starter.stop(process_name(old.tag))
    return new


def _take_back(version: Version, old: Endpoint | None, starter: Starter, name: str) -> None:
    """After a failure: the traffic stays with, or returns to, the old service."""
    with suppress(Exception):  # the first error is the one to tell
        if old is not None:
            releases.announce(old.model, old.version, old.url, old.tag, old.pid)
            releases.switch(old.model, old.version)
        else:
            releases.withdraw(version.model)
    with suppress(Exception):
        if old is None or old.version != version.number:
            releases.retire(version.model, version.number)
    with suppress(Exception):
        if old is None or process_name(old.tag) != name:
            starter.stop(name)


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((settings().host, 0))
        return int(probe.getsockname()[1])


def answers(endpoint: Endpoint) -> bool:
    """Whether the service is ready now."""
    try:
        with urllib.request.urlopen(f"{endpoint.url}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def confirm(router: str, endpoint: Endpoint) -> None:
    """Waits until the router sends the model's requests to `endpoint`. Raises MissingService."""
    found: Any = "no answer"
    end = time.monotonic() + CONFIRM_S
    while time.monotonic() < end:
        with suppress(OSError, ValueError):
            found = _routes(router)["routes"].get(endpoint.model, "no route")
            if isinstance(found, dict) and found["url"] == endpoint.url:
                return
        time.sleep(0.1)
    raise MissingService(
        f"the router at {router} did not follow within {CONFIRM_S:g} s: {found}",
        expected=f"{endpoint.model} at {endpoint.url}",
        mend="`visionloop status` says whether the router is up; `visionloop logs router` why not",
    )


def drain(router: str, endpoint: Endpoint) -> None:
    """Waits until the router has no request on `endpoint` any more; one that hangs is not waited for for ever."""
    end = time.monotonic() + min(DRAIN_S, settings().request_timeout_s + 5)
    while router and time.monotonic() < end:
        try:
            if not _routes(router)["in_flight"].get(endpoint.url):
                return
        except (OSError, ValueError):
            return  # without a router there is nothing on its way
        time.sleep(0.05)


def _routes(router: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{router}/-/routes", timeout=2) as answer:
        return dict(json.load(answer))
