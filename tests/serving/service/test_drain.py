"""A service that is told to stop while it works: a real process, real signals."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections import Counter
from types import SimpleNamespace
from typing import cast

import httpx
import pytest
import uvicorn

from serving.releases import deploy, packaging
from serving.service.http_server import Server
from serving.service.worker import Worker
from tests.bundles import make_scan
from tests.serving.conftest import PROJECT, Packaged, Processes
from tests.waiting import until

CLIENTS = 6
BODY = make_scan(3, (64, 48, 4))


def test_a_service_that_is_stopped_finishes_what_it_took_and_drops_nothing(
    packaged: dict[int, Packaged], processes: Processes
) -> None:
    port = deploy.free_port()
    argv, env = packaging.serve_command(packaged[2].tag, port), packaging.serve_environment()
    running = processes.start("stopped", argv, env, f"http://127.0.0.1:{port}/readyz")
    outcomes: Counter[str] = Counter()
    stopped = threading.Event()

    def client() -> None:
        """One request after the other on one connection, until an answer says that the connection ends."""
        with httpx.Client(base_url=running.url, timeout=60) as one:
            while True:
                try:
                    answer = one.post("/predict", content=BODY)
                except httpx.HTTPError as error:
                    outcomes[repr(error)] += 1
                    return
                outcomes[f"{answer.status_code}{' after' if stopped.is_set() else ''}"] += 1
                if answer.headers.get("connection") == "close":
                    return

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    until(lambda: outcomes["200"] >= 2 * CLIENTS)
    stopped.set()
    running.process.send_signal(signal.SIGTERM)
    readiness = set()
    while running.process.poll() is None:
        try:
            readiness.add(httpx.get(f"{running.url}/readyz", timeout=5).status_code)
        except httpx.HTTPError:
            break
    for thread in threads:
        thread.join(60)
    running.process.wait(30)
    assert set(outcomes) == {"200", "200 after"}, outcomes
    assert outcomes["200 after"] >= CLIENTS
    assert 503 in readiness


def test_told_twice_a_service_leaves_at_once() -> None:
    """The first time it stays until others have seen that it is not ready any more."""
    worker = SimpleNamespace(draining=False)
    server = Server(uvicorn.Config(lambda: None), cast(Worker, worker))
    server.handle_exit(signal.SIGTERM, None)
    assert (worker.draining, server.should_exit) == (True, False)
    server.handle_exit(signal.SIGTERM, None)
    assert server.should_exit


@pytest.mark.parametrize(("parent", "told"), [(1, ""), (4711, "4711")])
def test_a_service_that_gives_up_stops_its_arbiter_and_nobody_else(parent: int, told: str) -> None:
    script = (
        "import os, sys; from serving.service import bento\n"
        f"os.getppid = lambda: {parent}; os.kill = lambda pid, sig: print(pid, flush=True)\n"
        "bento.give_up(ValueError('no network'))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, "--worker-id"], cwd=PROJECT, capture_output=True, text=True, timeout=60
    )
    assert (run.returncode, run.stdout.strip()) == (1, told)
    assert run.stderr.strip() == "not serving: no network"
