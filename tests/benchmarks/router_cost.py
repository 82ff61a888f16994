"""`python -m tests.benchmarks.router_cost CHECKOUT`: processor time of the router for a request, beside that checkout.

Both routers forward to one stub. The processor's time says more than the clock's where other work shares the machine.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import psutil

from registry.core.settings import settings
from serving.releases import endpoints, store
from serving.releases.deploy import free_port
from tests.conftest import PROJECT
from tests.databases import own_database
from tests.flows.conftest import own_settings
from tests.serving.stubs import Stub, routes, serving
from tests.waiting import until

MODEL = "fruit_features"
BODY = b"x" * 20_000
REQUESTS, ROUNDS = 600, 12


def main(other: Path) -> None:
    with ExitStack() as stack:
        config = stack.enter_context(own_settings(Path(stack.enter_context(TemporaryDirectory()))))
        stack.enter_context(own_database(config.var / "visionloop.db"))
        routers = {name: _start(stack, path) for name, path in (("this", PROJECT), ("other", other))}
        stub = stack.enter_context(serving(Stub()))
        endpoints.announce(MODEL, 1, stub.url, "stub:1")
        store.switch(MODEL, 1)
        for _, address in routers.values():
            until(lambda address=address: MODEL in routes(address))  # type: ignore[misc]
        found: dict[str, list[float]] = {name: [] for name in routers}
        for turn in range(-1, ROUNDS):  # the first warms up
            for name in routers if turn % 2 else reversed(routers):
                used = _used(*routers[name])
                if turn >= 0:
                    found[name].append(used)
    for name, values in found.items():
        low, middle, high = min(values), statistics.median(values), max(values)
        print(f"{name:<6} {middle:5.0f} us of the processor a request ({low:.0f} to {high:.0f})")


def _start(stack: ExitStack, checkout: Path) -> tuple[int, str]:
    """The id and address of a router with the code of a checkout."""
    port = free_port()
    given = settings().child_environment().items()
    env = {name: value for name, value in given if not (name.startswith("VISIONLOOP_") and name.endswith("_PORT"))}
    env |= {"PYTHONPATH": str(checkout), "VISIONLOOP_ROUTER_PORT": str(port)}  # the other may not know all settings
    argv = [sys.executable, "-m", "serving.launchers.router"]
    process = subprocess.Popen(argv, env=env, cwd=checkout, stderr=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    address = f"http://127.0.0.1:{port}"
    until(lambda: httpx.get(f"{address}/healthz").is_success, 120, 0.2, (httpx.HTTPError,))
    return process.pid, address


def _used(pid: int, address: str) -> float:
    """Microseconds of the processor for a request."""
    process = psutil.Process(pid)
    with httpx.Client() as client:
        before = process.cpu_times()
        for _ in range(REQUESTS):
            assert client.post(f"{address}/v1/models/{MODEL}/predict", content=BODY).status_code == 200
        after = process.cpu_times()
    return 1e6 * (after.user + after.system - before.user - before.system) / REQUESTS


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
