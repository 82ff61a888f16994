"""Asks the supervisor of the local stack, over its control socket, which only this machine's user can open."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

import httpx

from registry.core.errors import MissingService, error_from_json
from registry.core.settings import settings

ANSWER_WITHIN_S = 2.0
ENDED_WITHIN_S = 110.0
"""A service may finish its requests, and then the supervisor kills it."""
WEB = "web"
"""Our own process: whoever restarts it gets no answer from it."""


@dataclass(frozen=True)
class Process:
    """A process of the stack. `since` is unix seconds; `memory_mb` counts its descendants, too, MiB."""

    name: str
    state: str
    since: float = 0.0
    restarts: int = 0
    memory_mb: float = 0.0
    note: str = ""
    url: str = ""

    @property
    def well(self) -> bool:
        return self.state in ("ready", "external", "done", "stopped")

    @property
    def up_since(self) -> datetime | None:
        return datetime.fromtimestamp(self.since, UTC) if self.since and self.state == "ready" else None

    @property
    def is_service(self) -> bool:
        """Whether it serves a version: such a process is named MODEL-NUMBER-HASH."""
        return self.name.count("-") >= 2


def processes() -> list[Process]:
    """All processes. Raises MissingService: the stack is not up, or its supervisor does not answer."""
    names = [field.name for field in fields(Process)]
    return [Process(**{name: one[name] for name in names if name in one}) for one in _ask("GET", "/status")]


def restart(name: str) -> None:
    """Ends a process and starts it again. A service first finishes its requests.

    Raises:
        NotFound: there is no such process.
        MissingService: as `processes`.
    """
    _ask("POST", f"/processes/{name}/restart", timeout_s=ENDED_WITHIN_S)


def drain(name: str) -> None:
    """Ends a process once it has finished its requests. Otherwise as `restart`."""
    _ask("POST", f"/processes/{name}/stop", timeout_s=ENDED_WITHIN_S)


def _ask(method: str, path: str, timeout_s: float = ANSWER_WITHIN_S) -> Any:
    try:
        where = json.loads((settings().var / "run" / "supervisor.json").read_text(encoding="utf-8"))["socket"]
        transport = httpx.HTTPTransport(uds=where, verify=False)  # a socket of this machine has no TLS
        with httpx.Client(transport=transport, timeout=timeout_s, trust_env=False, verify=False) as client:
            answer = client.request(method, f"http://supervisor{path}")
            found = answer.json()
    except (OSError, ValueError, KeyError, httpx.HTTPError) as error:
        raise MissingService(
            "the supervisor does not answer", expected="a running stack", fix="`visionloop up` starts it"
        ) from error
    if answer.is_success:
        return found
    raise error_from_json(found, answer.status_code)
