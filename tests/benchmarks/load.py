"""The load generator of all measurements: it starts and ends processes, keeps connections open, and measures.

Threads measure latency and rate, of services and of functions in this process alike. Long runs use asyncio: `open_loop`
calls at a steady rate, and a `Tally` keeps account of each answer.
"""

from __future__ import annotations

import asyncio
import http.client
import itertools
import os
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from monitoring.log.shipping import KEEPER
from registry.core.errors import MissingService
from registry.core.settings import Settings, settings
from serving.releases.deploy import free_port
from serving.releases.packaging import bento_folder, serve_command, serve_environment

CLIENTS = 8
START_S = 120
REST_S = 0.1
"""Pause before a turn: onnxruntime's threads spin for a while and would slow whoever comes next."""
RAW = {"Content-Type": "application/octet-stream"}

SETTLE_S = 30.0
"""Calls within this time after an event are left out of the quiet latencies."""

Call = Callable[[bytes], Any]


def ended_in_order() -> None:
    """From now on SIGTERM raises SystemExit, so that what this process started ends with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def run_to_end(argv: list[str], env: Mapping[str, str] | None = None) -> int:
    """Runs a measurement in a process of its own, and ends it if this process ends. Returns its exit code."""
    with subprocess.Popen(argv, env=env) as process:
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            raise


@contextmanager
def running(argv: list[str], port: int, ready: str, env: dict[str, str] | None = None) -> Iterator[int]:
    """Runs a process that answers 200 at the path `ready` of `port`. The block's end ends it with all that it started:
    LitServe leaves a process behind. Raises MissingService."""
    null = subprocess.DEVNULL
    process = subprocess.Popen(argv, env=env, stdout=null, stderr=null, process_group=0)
    try:
        end = time.monotonic() + START_S
        while not _answers(port, ready):
            if time.monotonic() > end or process.poll() is not None:
                raise MissingService(f"{' '.join(argv[:3])} did not become ready", fix="run it by hand and read why")
            time.sleep(0.01)
        yield port
    finally:
        process.terminate()
        process.wait()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _answers(port: int, path: str) -> bool:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        line.request("GET", path)
        return line.getresponse().status == 200
    except OSError:
        return False
    finally:
        line.close()


@contextmanager
def running_service(tag: str) -> Iterator[tuple[int, float]]:
    """Runs a Bento's service. Yields its port, and the seconds from its start to its first answer."""
    port, began = free_port(), time.perf_counter()
    # As under the supervisor, whose keeper brings the log into the database.
    with running(serve_command(tag, port), port, "/readyz", {**serve_environment(), KEEPER: "there"}):
        sample = bento_folder(tag) / "src" / "bundle" / "samples"
        body = next(sample.glob("*/input")).read_bytes()
        callers(port, "/predict")()(body)
        yield port, time.perf_counter() - began


def callers(port: int, path: str, headers: Mapping[str, str] = RAW) -> Callable[[], Call]:
    """Makes callers. Each keeps a connection open; the standard library's client costs least."""

    def make() -> Call:
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

        def call(body: bytes) -> bytes:
            line.request("POST", path, body, dict(headers))
            answer = line.getresponse()
            content = answer.read()
            if answer.status != 200:
                raise MissingService(f"{path} answered {answer.status}: {content[:200].decode(errors='replace')}")
            return content

        return call

    return make


def p50(make: Callable[[], Call], body: bytes, calls: int) -> float:
    """Median milliseconds of one call, one at a time."""
    return in_turns({"": make}, body, calls)[""]


def in_turns(ways: Mapping[str, Callable[[], Call]], body: bytes, calls: int, turn: int = 5) -> dict[str, float]:
    """Median milliseconds of one call of each way. The ways take turns of `turn` calls, one call at a time.

    Whatever else the machine does lasts longer than a turn, so it slows all ways alike.
    """
    made = {name: make() for name, make in ways.items()}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for done in range(0, calls, turn):
        for name, call in made.items():
            time.sleep(REST_S)
            for _ in range(min(turn, calls - done)):
                began = time.perf_counter()
                call(body)
                times[name].append(1000 * (time.perf_counter() - began))
    return {name: statistics.median(found) for name, found in times.items()}


def rate(make: Callable[[], Call], body: bytes, calls: int, clients: int) -> float:
    """Calls per second of `clients` callers at once."""

    def client() -> None:
        call = make()
        for _ in range(max(1, calls // 2)):
            call(body)

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        for done in [pool.submit(client) for _ in range(clients)]:
            done.result()
    return clients * max(1, calls // 2) / (time.perf_counter() - began)


@dataclass
class Tally:
    """The results of many calls. `times`: (seconds since the start, milliseconds, HTTP status or 0)."""

    began: float = field(default_factory=time.perf_counter)
    times: list[tuple[float, float, int]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)

    def latencies(self, outside: Sequence[float] = ()) -> list[float]:
        """Milliseconds of answered calls, sorted. Leaves out calls near the moments `outside`."""
        quiet = [t for t in self.times if not any(e - 1 <= t[0] <= e + SETTLE_S for e in outside)]
        return sorted(ms for _, ms, status in quiet if status == 200)


class CountingCaller:
    """Asks the router of `config` (by default the settings) for predictions of one model, and counts each answer in a
    `Tally`."""

    def __init__(self, model: str, body: bytes, tally: Tally, config: Settings | None = None) -> None:
        config = config or settings()
        self._url = f"{config.router_address}/v1/models/{model}/predict"
        self._headers = {"Content-Type": "application/octet-stream", **config.key_headers}
        self._body, self.tally = body, tally
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def __call__(self) -> None:
        began, status, problem = time.perf_counter(), 0, ""
        try:
            async with self._session.post(self._url, data=self._body, headers=self._headers) as answer:
                content = await answer.read()
                status = answer.status
                if status == 200:
                    self.tally.ids.append(answer.headers["X-Prediction-Id"])
                    self.tally.versions[answer.headers["X-Model-Version"]] += 1
                else:
                    problem = f"{status} {content[:120].decode(errors='replace')}"
        except (aiohttp.ClientError, TimeoutError) as error:
            problem = f"no answer: {type(error).__name__}"
        now = time.perf_counter()
        self.tally.times.append((began - self.tally.began, 1000 * (now - began), status))
        if status != 200:
            self.tally.refusals[problem] += 1

    async def close(self) -> None:
        await self._session.close()


async def closed_loop(call: Callable[[], Awaitable[None]], clients: int, goes_on: Callable[[], bool]) -> None:
    """`clients` callers. Each asks again as soon as it has its answer."""

    async def client() -> None:
        while goes_on():
            await call()

    await asyncio.gather(*(client() for _ in range(clients)))


async def open_loop(call: Callable[[], Awaitable[None]], per_s: float, seconds: float) -> None:
    """Calls at a steady rate, whether or not earlier calls have been answered."""
    began, running = time.perf_counter(), set[asyncio.Task[None]]()
    for number in itertools.count():
        due = began + number / per_s
        if due - began > seconds:
            break
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        task = asyncio.ensure_future(call())
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
