"""A process of the stack: how to start it (`ProcessSpec`), and its state (`ProcessStatus`)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

State = Literal[
    "waiting", "blocked", "starting", "ready", "unhealthy", "restarting", "failed", "stopped", "done", "external"
]
"""waiting: for the processes it requires; blocked: one of these failed; restarting: it died and waits for its next
start; failed: given up; done: it ran once and ended well; external: the settings name another address, and nothing is
started here."""

SERVICE_GRACE_S = 35.0
"""A service finishes its requests, for serving.service.launch.DRAIN_S at most."""

SETTLED: frozenset[State] = frozenset({"ready", "blocked", "failed", "stopped", "done", "external"})


@dataclass(frozen=True)
class ProcessSpec:
    """How to start a process, and how to know that it works.

    Attributes:
        name: unique in the stack; also the name of its log: letters, digits, `-`, `_` and `.`.
        argv: program and arguments.
        env: variables over `settings().child_environment()`.
        ready_url: answers 2xx once the process works. "", and no `beats`: it counts as ready after one second.
        beats: it calls registry.core.heartbeat.beat, first when it is ready and then every few seconds.
        url: the address to show to people.
        requires: names of processes that must be ready before it is started.
        restart: start it again when it dies. Without it, a process that ends with 0 is `done`.
        port: the port it listens on. `up` checks that it is free. 0: none, or the caller picked a free one.
        setting: the setting of that port.
        grace_s: how long it may take to end after SIGTERM before its group is killed.
        start_timeout_s: how long it may take to become ready.
        hung_s: a process that does not answer, or beat, for this long is restarted. Long, as a training on all cores
            slows everything.
    """

    name: str
    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    ready_url: str = ""
    url: str = ""
    requires: tuple[str, ...] = ()
    restart: bool = True
    port: int = 0
    setting: str = ""
    grace_s: float = 10.0
    start_timeout_s: float = 120.0
    beats: bool = False
    hung_s: float = 120.0

    def __post_init__(self) -> None:
        if not self.argv or not self.name or not all(c.isalnum() or c in "-_." for c in self.name):
            raise ValueError(f"a process needs a command and a plain name, not {self.name!r}, {self.argv!r}")
        object.__setattr__(self, "argv", tuple(self.argv))
        object.__setattr__(self, "requires", tuple(self.requires))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class ProcessStatus:
    """The state of a process. `since`: unix seconds. `memory_mb`: resident memory with its descendants, MiB."""

    name: str
    state: State
    pid: int = 0
    url: str = ""
    since: float = 0.0
    restarts: int = 0
    processes: int = 0
    memory_mb: float = 0.0
    log: str = ""
    note: str = ""

    @property
    def ready(self) -> bool:
        return self.state in ("ready", "external", "done")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
