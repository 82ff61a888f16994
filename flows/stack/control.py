"""The client of the supervisor. `up` starts the supervisor, and `down` cleans up even without one."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from flows.process import SERVICE_GRACE_S, SETTLED, ProcessSpec, ProcessStatus
from flows.stack import layout, orphans, places, ports
from flows.stack.logs import tail
from registry.core.errors import MissingService, VisionloopError, error_from_json
from registry.core.files import disk_errors
from registry.core.settings import Settings, settings

_UP_WITHIN_S = 30.0
ANSWER_WITHIN_S = 10.0
READY_WITHIN_S = 180.0


class _NoAnswer(MissingService):
    """There is a supervisor, and it does not answer in time."""


class Stack:
    """The local stack of one `var`. Cheap to make: each call asks the supervisor anew."""

    def __init__(self, config: Settings | None = None) -> None:
        self.config = config or settings()
        self.run = self.config.var / "run"

    def running(self) -> bool:
        """Whether there is a supervisor, even one that is too busy to answer."""
        try:
            self._ask("GET", "/status?memory=no")
        except _NoAnswer:
            return True
        except VisionloopError:
            return False
        return True

    def status(self) -> list[ProcessStatus]:
        """Raises MissingService when the stack is not up."""
        return [ProcessStatus(**one) for one in self._ask("GET", "/status")]

    def services(self) -> dict[str, ProcessStatus]:
        """The processes that run or are starting, by name. Raises MissingService if the stack is not up."""
        found = (ProcessStatus(**one) for one in self._ask("GET", "/status?memory=no"))
        return {one.name: one for one in found if one.state not in ("external", "done", "stopped", "failed", "blocked")}

    def start(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        ready_url: str = "",
        restart: bool = True,
        *,
        grace_s: float = SERVICE_GRACE_S,
        **more: Any,
    ) -> ProcessStatus:
        """Adds a process, mostly a service, to the running stack. Waits until `ready_url` answers 2xx.

        Replaces a process of the same name. Its address for people is the host of `ready_url`.

        Args:
            more: other fields of `ProcessSpec`.

        Raises:
            MissingService: the stack is not up, or the process did not become ready (with the last lines of its log).
        """
        url = urljoin(ready_url, "/").rstrip("/")
        spec = ProcessSpec(name, tuple(argv), dict(env or {}), ready_url, url, restart=restart, grace_s=grace_s, **more)
        return self.start_spec(spec)

    def start_spec(self, spec: ProcessSpec) -> ProcessStatus:
        """As `start`, with a whole spec. Raises SettingsError if its port is busy."""
        # One of its name ends before, and it ends if it does not become ready.
        patience = spec.start_timeout_s + 2 * spec.grace_s + 30
        return ProcessStatus(**self._ask("POST", "/start", spec.to_json(), timeout_s=patience))

    def stop(self, name: str) -> None:
        """Ends a process and waits for it. Does nothing if it is gone already. Raises MissingService."""
        self._ask("POST", f"/processes/{name}/stop", timeout_s=self._ended_within_s)

    def restart(self, name: str) -> ProcessStatus:
        """Ends a process and starts it again. Does not wait until it is ready. Raises NotFound, MissingService."""
        return ProcessStatus(**self._ask("POST", f"/processes/{name}/restart", timeout_s=self._ended_within_s))

    def up(self, only: Sequence[str] = ()) -> bool:
        """Starts reaper and supervisor, and waits until the story page answers. Returns False if the stack is up.

        `only`: names of the processes to start beside the story page. Empty: all.

        Raises:
            NotFound: `only` has a name that is not a process of the stack.
            SettingsError: a port is busy, or the project folder's path cannot work.
            MissingService: the supervisor did not start.
            StorageError: `var` cannot be written.
        """
        places.check(self.config)
        with disk_errors(self.run):
            wanted = layout.chosen(self.config, only)
            self.run.mkdir(parents=True, exist_ok=True)
            (self.config.var / "logs").mkdir(exist_ok=True)
        with self._lock():
            if self.running():
                if not self._ask("GET", "/down")["stopping"]:
                    return False
                self._wait_for_end()  # of a `down` that was interrupted
            return self._bring_up(wanted, only)

    def _bring_up(self, wanted: Sequence[ProcessSpec], only: Sequence[str]) -> bool:
        orphans.end(orphans.find(self.config.var))
        ports.check(self.config.host, [layout.home(self.config), *wanted])
        log = self.config.var / "logs" / "supervisor.log"
        with log.open("ab") as out:
            reaper = subprocess.Popen(
                [sys.executable, "-m", "flows.stack.reaper", *only],
                env={**self.config.child_environment(), orphans.MARKER: str(self.config.var)},
                cwd=self.config.root,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        orphans.record(self.run, "reaper", reaper.pid)
        limit = time.monotonic() + _UP_WITHIN_S
        while time.monotonic() < limit:
            if self.running():
                return True
            if reaper.poll() is not None:
                break
            time.sleep(0.05)
        raise MissingService(
            "the supervisor did not start\n" + "\n".join(tail(log, 8)),
            expected=f"an answer within {_UP_WITHIN_S:g} s",
            fix=f"read {log}",
        )

    def wait(self, on_look: Callable[[list[ProcessStatus]], None] = lambda _: None) -> list[ProcessStatus]:
        """Waits until every process is ready or given up. Calls `on_look` with the states several times a second.

        Raises:
            MissingService: one is still starting after `READY_WITHIN_S`.
        """
        limit = time.monotonic() + READY_WITHIN_S
        while True:
            statuses = self.status()
            on_look(statuses)
            late = [status for status in statuses if status.state not in SETTLED]
            if not late:
                return statuses
            if time.monotonic() > limit:
                raise MissingService(
                    f"{', '.join(status.name for status in late)} did not become ready in {READY_WITHIN_S:.0f} s",
                    expected="every process ready",
                    fix=f"read {late[0].log}; they are still starting, see `visionloop status`",
                )
            time.sleep(0.15)

    def restart_failed(self) -> list[str]:
        """Starts again what was given up or stopped. Returns the names."""
        names = [one.name for one in self.status() if one.state in ("failed", "stopped")]
        for name in names:
            self.restart(name)
        return names

    def down(self) -> int:
        """Stops everything, with orphans of an earlier crash. Returns how many orphans were ended."""
        if not self.run.is_dir():  # somebody may have deleted it, and the processes go on
            return orphans.end(orphans.find(self.config.var))
        with self._lock():
            with suppress(MissingService):  # nobody is there, or does not answer
                self._ask("POST", "/down")
                self._wait_for_end()
            swept = orphans.end(orphans.find(self.config.var))
            for pattern in ("*.json", "*.sock", "*.beat"):
                for file in self.run.glob(pattern):
                    file.unlink(missing_ok=True)
            return swept

    def _wait_for_end(self) -> None:
        """Waits until a supervisor that is stopping has ended, with its reaper."""
        reaper = orphans.recorded(self.run / "reaper.json")
        if reaper is not None:
            orphans.wait([reaper], self._ended_within_s)

    @property
    def _ended_within_s(self) -> float:
        """The services may finish their requests, then the router, then the processes that these need."""
        return SERVICE_GRACE_S + layout.router_grace_s(self.config) + 30

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """One `up` or `down` runs at a time: a second one must not end what the first is just starting."""
        with disk_errors(self.run):
            handle = (self.run / "turn.lock").open("w")
        with handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _ask(self, method: str, path: str, body: Any = None, timeout_s: float = 0.0) -> Any:
        import httpx

        timeout_s = timeout_s or ANSWER_WITHIN_S
        try:
            where = json.loads((self.run / "supervisor.json").read_text(encoding="utf-8"))["socket"]
            # A socket of this machine has no TLS; loading its certificates would take 40 ms of each call.
            transport = httpx.HTTPTransport(uds=where, verify=False)
            with httpx.Client(transport=transport, timeout=timeout_s, trust_env=False, verify=False) as client:
                answer = client.request(method, f"http://supervisor{path}", json=body)
        except httpx.TimeoutException as error:
            raise _NoAnswer(
                f"the supervisor does not answer within {timeout_s:g} s",
                expected="an answer: it may be stopped, or the machine is too busy",
                fix="try again; `visionloop down` ends it in any case",
            ) from error
        except (OSError, ValueError, KeyError, httpx.TransportError) as error:
            raise MissingService(
                "the stack is not up", expected="a running supervisor", fix="`visionloop up` starts it"
            ) from error
        if answer.is_success:
            return answer.json()
        try:
            facts = dict(answer.json())
        except (ValueError, TypeError):
            facts = {}
        if "error" not in facts or "found" not in facts:
            raise MissingService(f"the supervisor answered {answer.status_code}: {answer.text}")
        raise error_from_json(facts, answer.status_code)


def refuse_failed(statuses: Sequence[ProcessStatus]) -> None:
    """Raises MissingService, with the last lines of its log, if a process was given up."""
    for worst in statuses:
        if worst.state in ("failed", "blocked"):
            raise MissingService(
                f"{worst.name} does not run: {worst.note}\n" + "\n".join(tail(Path(worst.log), 8)),
                expected="every process ready",
                fix=f"read {worst.log}; `visionloop down` and `visionloop up` start afresh",
            )
