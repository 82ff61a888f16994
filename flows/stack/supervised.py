"""One process under the supervisor: starts it, watches it, restarts it with back-off, ends it with its group."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import httpx
import psutil

from flows.process import SETTLED, ProcessSpec, ProcessStatus, State
from flows.stack import orphans
from registry.core import heartbeat
from registry.core.errors import StorageError
from registry.core.settings import Settings

QUICK_S = 20.0
"""A process that dies within this time of becoming ready, or before, died quickly."""
QUICK_DEATHS = 5
"""After this many quick deaths in a row, it is given up."""
BACK_OFF_S = (0.2, 1.0, 2.0, 5.0, 10.0)
HEALTH_EVERY_S = 5.0
PATIENCE = 5
"""So many times its start time may a process take that works all the while: it is slow, not hung, and a new one would
begin where it began."""
WORKS = 0.01
"""Least share of a core, over its start time, of a process that works. One that waits in vain uses less."""
UNHEALTHY = 6
"""A process is shown as unhealthy after this part of the time after which it is restarted."""


class Supervised:
    """One process. Call all methods in the supervisor's event loop."""

    def __init__(self, spec: ProcessSpec, settings: Settings, http: httpx.AsyncClient) -> None:
        self.spec = spec
        self.state: State = "waiting"
        self.note = ""
        self.restarts = 0
        self.since = 0.0
        self.settled = asyncio.Event()
        """Set while the state is in `SETTLED`: a caller can stop waiting."""
        self.log = settings.var / "logs" / f"{spec.name}.log"
        self._settings, self._http = settings, http
        self._process: asyncio.subprocess.Process | None = None
        self._life: asyncio.Task[None] | None = None
        self._stopping = False
        self._heartbeat = settings.var / "run" / f"{spec.name}.beat"
        self._beaten = 0

    @property
    def pid(self) -> int:
        return self._process.pid if self._process and self._process.returncode is None else 0

    def start(self, requires: list[Supervised]) -> None:
        self._stopping = False
        self._life = asyncio.create_task(self._live(requires), name=f"life of {self.spec.name}")

    async def stop(self) -> None:
        """Ends it with all that it started. Idempotent."""
        self._stopping = True
        if self._process is not None and self._process.returncode is None:
            await self._end(self._process)
        if self._life is not None:
            self._life.cancel()
            with suppress(asyncio.CancelledError):
                await self._life
        if self.state not in ("done", "failed"):
            self._become("stopped")
        with suppress(OSError):
            self._pid_file.unlink()

    def status(self, memory: bool = True) -> ProcessStatus:
        """`memory`: add up its memory, which costs some milliseconds."""
        processes, memory_mb = _memory_mb(self.pid) if memory else (0, 0.0)
        return ProcessStatus(
            self.spec.name, self.state, self.pid, self.spec.url, self.since, self.restarts, processes, memory_mb,
            str(self.log), self.note,
        )  # fmt: skip

    @property
    def _pid_file(self) -> Path:
        return self._settings.var / "run" / f"{self.spec.name}.json"

    def _become(self, state: State, note: str = "") -> None:
        self.state, self.note = state, note
        if state in SETTLED:
            self.settled.set()
        else:
            self.settled.clear()

    async def _live(self, requires: list[Supervised]) -> None:
        for other in requires:
            while other.state != "ready":
                failed = other.state in ("failed", "blocked")
                self._become("blocked" if failed else "waiting", f"for {other.spec.name}")
                await asyncio.sleep(0.1)
        deaths = 0
        while True:
            self._become("starting")
            try:
                code, ready_for = await self._one_life()
            except OSError as error:
                self._become("failed", f"cannot be started: {error}")
                return
            if self._stopping:
                return
            how = f"ended with {code}" if code >= 0 else f"was killed by {signal.Signals(-code).name}"
            if code == 0 and not self.spec.restart:
                self._become("done")
                return
            if not self.spec.restart:
                self._become("failed", how)
                return
            deaths = deaths + 1 if ready_for < QUICK_S else 1
            if deaths >= QUICK_DEATHS:
                self._become("failed", f"{how}; given up after {deaths} quick deaths, see `visionloop logs`")
                return
            self.restarts += 1
            pause = BACK_OFF_S[min(deaths - 1, len(BACK_OFF_S) - 1)]
            self._become("restarting", f"{how}; again in {pause:g} s")
            await asyncio.sleep(pause)

    async def _one_life(self) -> tuple[int, float]:
        """Starts it and watches it to its end. Returns exit code (negative: the signal) and seconds it was ready."""
        process = await self._spawn()
        death = asyncio.create_task(process.wait())
        watch = asyncio.create_task(self._watch(process))
        try:
            await asyncio.wait({death})
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch
            death.cancel()
        # The process is gone; its children may still hold the port.
        if not self._stopping:
            _kill_group(process.pid)
            await asyncio.to_thread(self._end_marked, 0.5)
        return process.returncode or 0, (time.time() - self.since) if self.since else 0.0

    async def _spawn(self) -> asyncio.subprocess.Process:
        self.since = 0.0
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > self._settings.log_mb * 2**20:
            self.log.replace(self.log.with_suffix(".log.1"))
        beat = {}
        if self.spec.beats:
            with suppress(OSError):  # a full disk; then it is not watched
                self._heartbeat.touch()
                self._beaten = self._heartbeat.stat().st_mtime_ns
                beat = {heartbeat.FILE: str(self._heartbeat)}
        environment = {
            **self._settings.child_environment(),
            **self.spec.env,
            **beat,
            orphans.MARKER: str(self._settings.var),
            orphans.NAME: self.spec.name,
        }
        with self.log.open("ab") as log:
            log.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} starting {self.spec.name}\n".encode())
            log.flush()
            self._process = await asyncio.create_subprocess_exec(
                *self.spec.argv,
                env=environment,
                cwd=self._settings.root,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # its own group, so that the whole of it can be ended
            )
        with suppress(StorageError):  # a full disk; its environment says whose it is, too
            orphans.record(self._pid_file.parent, self.spec.name, self._process.pid, url=self.spec.url)
        return self._process

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """Waits until it is ready, then checks that it answers. Ends it when it hangs."""
        if not self._watched:
            if not self.spec.restart:
                return  # it runs once: it is ready when it is done
            await asyncio.sleep(1.0)
        else:
            began, worked = time.monotonic(), 0.0
            limit = began + self.spec.start_timeout_s
            while not await self._answers(2.0):
                if time.monotonic() > limit:
                    before, worked = worked, _worked_s(process.pid)
                    late = time.monotonic() - began > PATIENCE * self.spec.start_timeout_s
                    if late or worked - before < WORKS * self.spec.start_timeout_s:
                        self._log(f"{self._silence} within {time.monotonic() - began:.3g} s")
                        await self._end(process)
                        return
                    limit += self.spec.start_timeout_s
                await asyncio.sleep(0.1)
        self.since = time.time()
        self._become("ready")
        answered = time.monotonic()
        while self._watched:
            await asyncio.sleep(HEALTH_EVERY_S)
            if await self._answers(10.0):
                answered = time.monotonic()
                if self.state == "unhealthy":
                    self._become("ready")
            elif time.monotonic() - answered > self.spec.hung_s:
                self._log(f"{self._silence} for {self.spec.hung_s:g} s: restarting it")
                await self._end(process)
                return
            elif time.monotonic() - answered > self.spec.hung_s / UNHEALTHY:
                self._become("unhealthy", self._silence)

    @property
    def _watched(self) -> bool:
        return bool(self.spec.ready_url) or self._beaten > 0

    @property
    def _silence(self) -> str:
        return f"no answer from {self.spec.ready_url}" if self.spec.ready_url else "no sign of life"

    async def _answers(self, timeout_s: float) -> bool:
        if not self.spec.ready_url:
            before, self._beaten = self._beaten, 0
            with suppress(FileNotFoundError):  # somebody deleted var; then it is not watched
                self._beaten = self._heartbeat.stat().st_mtime_ns
            return self._beaten != before
        try:
            return (await self._http.get(self.spec.ready_url, timeout=timeout_s)).is_success
        except (httpx.HTTPError, OSError):
            return False

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """SIGTERM to the process, which ends its own children. After `grace_s`, SIGKILL to all of them."""
        with suppress(ProcessLookupError):
            process.terminate()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(process.wait()), self.spec.grace_s)
        _kill_group(process.pid)
        await asyncio.to_thread(self._end_marked, 1.0)
        await process.wait()

    def _end_marked(self, grace_s: float) -> None:
        """Ends what left the group: a daemon, or a process with a session of its own."""
        orphans.end(orphans.find(self._settings.var, self.spec.name), grace_s)

    def _log(self, line: str) -> None:
        with suppress(OSError), self.log.open("a", encoding="utf-8") as log:
            log.write(f"--- {line}\n")


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _worked_s(pid: int) -> float:
    """Processor time of `pid` and its descendants so far, seconds."""
    spent = 0.0
    with suppress(psutil.Error):
        leader = psutil.Process(pid)
        for process in (leader, *leader.children(recursive=True)):
            with suppress(psutil.Error):
                times = process.cpu_times()
                spent += times.user + times.system
    return spent


def _memory_mb(pid: int) -> tuple[int, float]:
    """Number of processes from `pid` down, and their resident memory in MiB."""
    if not pid:
        return 0, 0.0
    count, memory = 0, 0
    with suppress(psutil.Error):
        leader = psutil.Process(pid)
        for process in (leader, *leader.children(recursive=True)):
            with suppress(psutil.Error):
                memory += process.memory_info().rss
                count += 1
    return count, memory / 2**20
