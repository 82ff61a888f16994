"""Load for measurements: processes started and ended, callers that keep their connection, latency and rate of a way to
ask."""

from __future__ import annotations

import http.client
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from monitoring.log.shipping import KEEPER
from registry.core.errors import MissingService
from serving.releases.deploy import free_port
from serving.releases.packaging import bento_folder, serve_command, serve_environment

CLIENTS = 8
START_S = 120
REST_S = 0.1
"""Before a turn: without it, who came after onnxruntime's turn was slower (its threads spin a while)."""
RAW = {"Content-Type": "application/octet-stream"}

Call = Callable[[bytes], Any]


def ended_in_order() -> None:
    """From now on SIGTERM ends this process as an exception does: what it has started is ended with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def run_to_end(argv: list[str], env: Mapping[str, str] | None = None) -> int:
    """The exit code of a measurement in a process of its own; it is told when this process ends before it."""
    with subprocess.Popen(argv, env=env) as process:
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            raise


@contextmanager
def running(argv: list[str], port: int, ready: str, env: dict[str, str] | None = None) -> Iterator[int]:
    """A process that answers 200 at the path `ready` of `port`; ended with the block, and what it has started with it
    (LitServe leaves a process behind). Raises MissingService."""
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
    """A Bento's service: its port, and seconds from the start of its process to its first answer."""
    port, began = free_port(), time.perf_counter()
    # As under the supervisor, whose keeper brings the log into the database.
    with running(serve_command(tag, port), port, "/readyz", {**serve_environment(), KEEPER: "there"}):
        sample = bento_folder(tag) / "src" / "bundle" / "samples"
        body = next(sample.glob("*/input")).read_bytes()
        callers(port, "/predict")()(body)
        yield port, time.perf_counter() - began


def callers(port: int, path: str, headers: Mapping[str, str] = RAW) -> Callable[[], Call]:
    """Makes callers, each with a connection of its own that is kept open; the standard library's, for its low cost."""

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
    """Median milliseconds of one call of each way, one at a time and `turn` of one way after the other.

    A machine that has other things to do does them for longer than a turn, so they hit all ways alike.
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
    """Calls per second of several at once."""

    def client() -> None:
        call = make()
        for _ in range(max(1, calls // 2)):
            call(body)

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        for done in [pool.submit(client) for _ in range(clients)]:
            done.result()
    return clients * max(1, calls // 2) / (time.perf_counter() - began)
