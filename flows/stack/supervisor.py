"""`python -m flows.stack.supervisor`: runs the stack until told to stop. Started by `visionloop up`."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
import stat
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from flows.metrics import targets
from flows.process import ProcessSpec, ProcessStatus
from flows.stack import layout, orphans, places, ports
from flows.stack.logs import tail
from flows.stack.supervised import Supervised
from monitoring.log import spool
from monitoring.log.shipping import KEEPER
from registry.core.errors import MissingService, NotFound, VisionloopError
from registry.core.settings import Settings, settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import uvicorn

ALREADY = 75
"""Exit code when another supervisor holds the lock (EX_TEMPFAIL)."""
START_WAIT_S = 180.0
DROPPED_SHOWN_S = 7 * 86400.0


class Supervisor:
    """Holds the processes. The control socket offers its methods."""

    def __init__(self, config: Settings) -> None:
        import httpx

        self.config = config
        self.began = time.time()
        self.stopped = asyncio.Event()
        self._processes: dict[str, Supervised] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._http = httpx.AsyncClient(follow_redirects=True, trust_env=False)

    def bring_up(self, only: Sequence[str]) -> None:
        wanted = layout.chosen(self.config, only)
        if layout.KEEPER in (spec.name for spec in wanted):
            os.environ[KEEPER] = layout.KEEPER  # services then leave this work to the keeper
        for spec in wanted:
            self._processes[spec.name] = Supervised(spec, self.config, self._http)
        for process in self._processes.values():
            self._begin(process)

        self._tell_prometheus()

    def _tell_prometheus(self) -> None:
        targets.write(self.config, [process.spec for process in self._processes.values()])

    def _begin(self, process: Supervised) -> None:
        process.start([self._processes[name] for name in process.spec.requires if name in self._processes])

    def status(self, memory: bool = True) -> list[ProcessStatus]:
        log = str(self.config.var / "logs" / "supervisor.log")
        own = _own_memory_mb() if memory else 0.0
        address = self.config.home_address
        home = ProcessStatus(layout.HOME, "ready", os.getpid(), address, self.began, 0, 2, own, log)
        elsewhere = [ProcessStatus(n, "external", url=url) for n, url in layout.external(self.config).items()]
        found = [home, *elsewhere, *(process.status(memory) for process in self._processes.values())]
        return [_with_dropped(one) if one.name == layout.KEEPER else one for one in found]

    async def start(self, spec: ProcessSpec) -> ProcessStatus:
        """Starts a process, replaces one of the same name, and waits until it is ready.

        One start, stop or restart of a name runs at a time, so that no started process is ever forgotten.

        Raises:
            SettingsError: its port is busy.
            MissingService: it did not become ready (with the last lines of its log), or the stack is being stopped.
        """
        if self.stopped.is_set():
            raise MissingService("the stack is being stopped", expected="a running stack", fix="`visionloop up`")
        async with self._lock(spec.name):
            return await self._start(spec)

    async def _start(self, spec: ProcessSpec) -> ProcessStatus:
        await self._end(spec.name)
        ports.check(self.config.host, [spec])
        process = self._processes[spec.name] = Supervised(spec, self.config, self._http)
        self._begin(process)
        self._tell_prometheus()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(process.settled.wait(), min(spec.start_timeout_s, START_WAIT_S))
        if not process.status().ready:
            note, words = process.note, tail(process.log, 12)
            await self._end(spec.name)
            raise MissingService(
                f"{spec.name} did not become ready: {note or 'no answer in time'}\n" + "\n".join(words),
                expected=f"an answer from {spec.ready_url or 'the process'} within {spec.start_timeout_s:g} s",
                fix=f"read {process.log}",
            )
        return process.status()

    async def stop(self, name: str) -> None:
        """Ends a process and forgets it. Does nothing if there is none of that name."""
        async with self._lock(name):
            await self._end(name)

    async def _end(self, name: str) -> None:
        process = self._processes.get(name)
        if process is not None:
            await process.stop()
            if self._processes.get(name) is process:  # `tear_down` waits for no lock
                del self._processes[name]
                self._tell_prometheus()

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    async def restart(self, name: str) -> ProcessStatus:
        """Starts a process again, with a new count of deaths. Does not wait. Raises NotFound."""
        async with self._lock(name):
            process = self._processes.get(name)
            if process is None:
                raise NotFound(f"the stack runs no {name!r}", expected=", ".join(self._processes) or "none runs")
            await process.stop()
            self._begin(process)
            await asyncio.sleep(0)  # lets it begin, so that its state is new
            return process.status()

    async def tear_down(self) -> None:
        """Stops everything, each process before those that it requires."""
        targets.clear(self.config)
        while self._processes:
            needed = {name for process in self._processes.values() for name in process.spec.requires}
            wave = [n for n in self._processes if n not in needed] or list(self._processes)
            await asyncio.gather(*(self._processes[name].stop() for name in wave))
            for name in wave:
                self._processes.pop(name, None)
        await self._http.aclose()


def _with_dropped(keeper: ProcessStatus) -> ProcessStatus:
    """Adds to the keeper's status, for some days, that predictions were dropped before they were stored."""
    dropped = spool.dropped()
    if time.time() - dropped.last > DROPPED_SHOWN_S:
        return keeper
    return replace(keeper, note="; ".join(filter(None, (keeper.note, str(dropped)))))


def _own_memory_mb() -> float:
    import psutil

    mine = psutil.Process()
    reaper = mine.parent()
    return (mine.memory_info().rss + (reaper.memory_info().rss if reaper else 0)) / 2**20


@contextmanager
def _only_one(run: Path) -> Iterator[None]:
    """Holds the lock of the stack. It dies with this process, so it is never stale. Children do not inherit it."""
    run.mkdir(parents=True, exist_ok=True)
    run.chmod(stat.S_IRWXU)  # the control socket is here: whoever reaches it can start programs
    handle: IO[str] = (run / "supervisor.lock").open("w")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit(ALREADY)
    try:
        yield
    finally:
        handle.close()


def _control_socket(run: Path) -> tuple[socket.socket, Path]:
    path = places.control_socket(run)
    with suppress(FileNotFoundError):
        path.unlink()  # this process holds the lock: the one that made it is gone
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    return server, path


def _server(app: Any, **more: Any) -> uvicorn.Server:
    import uvicorn

    class Quiet(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # the supervisor handles signals for both servers

    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=1, lifespan="off", ws="none", **more
    )
    return Quiet(config)


async def run(config: Settings, only: Sequence[str]) -> None:
    """Runs the stack until it is told to stop. `only`: names of the processes to start. Empty: all."""
    from flows.stack.api import control_app
    from flows.stack.home import home_app

    run_folder = config.var / "run"
    supervisor = Supervisor(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, supervisor.stopped.set)

    control_socket, path = _control_socket(run_folder)
    home = _server(home_app(config, lambda: supervisor.status(memory=False)), host=config.host, port=config.home_port)
    control = _server(control_app(supervisor))
    tasks = [asyncio.create_task(control.serve(sockets=[control_socket])), asyncio.create_task(home.serve())]
    while not (home.started and control.started):
        if any(task.done() for task in tasks):
            raise SystemExit(1)  # uvicorn has logged why
        await asyncio.sleep(0.01)
    orphans.record(run_folder, "supervisor", os.getpid(), socket=str(path))
    supervisor.bring_up(only)

    reaper = os.getppid()
    while not supervisor.stopped.is_set():
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(supervisor.stopped.wait(), 1.0)
        if os.getppid() != reaper:
            break  # the reaper was killed: end in order, since nobody would clean up after a crash
    await supervisor.tear_down()
    home.should_exit = control.should_exit = True
    await asyncio.gather(*tasks, return_exceptions=True)
    for file in (path, run_folder / "supervisor.json"):
        file.unlink(missing_ok=True)
    if path.parent != run_folder:
        path.parent.rmdir()


def main() -> None:
    config = settings()
    with _only_one(config.var / "run"):
        try:
            asyncio.run(run(config, sys.argv[1:]))
        except VisionloopError as error:
            print(error, file=sys.stderr)
            sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
