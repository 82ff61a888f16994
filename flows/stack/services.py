"""Bento services under the supervisor: starting one, and bringing the live ones back after `up`.

`python -m flows.stack.services` does the latter; the supervisor runs it once.
"""

from __future__ import annotations

import sys
from urllib.parse import urlsplit

from flows.stack import ports
from flows.stack.control import Stack
from flows.stack.process import SERVICE_GRACE_S, ProcessSpec, ProcessStatus
from registry import database, journal
from registry.errors import VisionloopError
from registry.settings import settings
from serving import deploy, packaging, releases
from serving.releases import Endpoint

START_S = 90.0
"""A service compiles its network and checks its golden samples before it is ready; on busy cores that takes time."""


def service_spec(tag: str, port: int) -> ProcessSpec:
    """How the supervisor runs the service of a Bento. Raises NotFound when there is no such Bento."""
    address = f"http://{settings().service_host}:{port}"
    return ProcessSpec(
        packaging.process_name(tag),
        tuple(deploy.service_command(tag, port)),
        # The Bento carries its own copy of our packages: nothing may come before them.
        env={**packaging.serve_environment(), "PYTHONPATH": ""},
        ready_url=f"{address}/readyz",
        url=address,
        grace_s=SERVICE_GRACE_S,
        start_timeout_s=START_S,
    )


def start_service(tag: str, port: int = 0) -> ProcessStatus:
    """Starts the service of a Bento under the running stack and waits until it is ready; one that runs stays.

    Returns its status: `url` is where it answers, `pid` its process. It gets no traffic by this.

    Raises:
        NotFound: there is no such Bento.
        MissingService: the stack is not up, or the service did not become ready.
    """
    stack, name = Stack(), packaging.process_name(tag)
    for status in stack.status():
        if status.name == name and status.state == "ready":
            return status
    return stack.start_spec(service_spec(tag, port or ports.free_port(settings().service_host)))


def stop_service(tag: str) -> None:
    """Ends the service of a Bento; requests in flight may finish. Raises NotFound, MissingService."""
    Stack().stop(packaging.process_name(tag))


def _wanted() -> list[Endpoint]:
    return [one for route in releases.routes().values() for one in (route.champion, route.challenger) if one]


def bring_back() -> int:
    """Starts the services that the release plans want and announces where they answer; returns how many failed.

    What was kept warm before is not: it is retired.
    """
    failures, wanted = 0, _wanted()
    for (model, number), endpoint in releases.announced().items():
        if endpoint not in wanted:
            releases.retire(model, number)
    for endpoint in wanted:
        try:
            status = start_service(endpoint.tag, _port(endpoint))
        except VisionloopError as error:
            failures += 1
            print(error, file=sys.stderr)
            why = f"version {endpoint.version} of {endpoint.model} could not be started again: {error.found}"
            journal.fact("stack", why, endpoint.model, alarm=True)
            continue
        releases.announce(endpoint.model, endpoint.version, status.url, endpoint.tag, status.pid)
        print(f"{endpoint.model} version {endpoint.version} answers at {status.url}")
    return failures


def _port(endpoint: Endpoint) -> int:
    """The port it had, so that who knows the address keeps it; another one when that is taken."""
    old, host = urlsplit(endpoint.url).port or 0, settings().service_host
    return old if old and not ports.busy(host, old) else ports.free_port(host)


def main() -> int:
    """Brings the services back as soon as the database answers; returns how many failed."""
    while True:
        database.wait_until_migrated()
        try:
            return bring_back()
        except Exception as error:  # its driver's own kind
            if not database.is_away(error):
                raise
            print(f"the database is away again: {error}", file=sys.stderr)


if __name__ == "__main__":
    settings().apply_environment()
    sys.exit(min(main(), 100))
