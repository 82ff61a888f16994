"""Measurements clean up behind them, also when they are ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from registry.core.settings import settings
from registry.versions.bundle import Bundle
from serving.releases.deploy import free_port
from tests.benchmarks.load import running
from tests.serving.conftest import PROJECT
from tests.waiting import until


def _all_below(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has ended meanwhile
        return ""


@pytest.mark.slow
def test_a_measurement_that_is_ended_leaves_no_process_behind(project: Path, tiny_bundle: Bundle) -> None:
    environment = {**settings().child_environment(), "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-m", "tests.benchmarks.service", "--bundle", str(tiny_bundle.path)]
    bench = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:

        def all_of_it() -> list[psutil.Process]:
            assert bench.poll() is None
            found = _all_below(bench.pid)
            router_runs = any("serving.launchers.router" in _command(one) for one in found)  # the last that it starts
            return found if router_runs else []

        started = until(all_of_it, 120, 0.1)
        assert len(started) >= 4  # the measurement itself, a service, the echo, the router
        bench.terminate()
        assert bench.wait(30) != 0
        _, alive = psutil.wait_procs(started, timeout=30)
        assert alive == []
    finally:
        for one in _all_below(bench.pid) if bench.poll() is None else []:
            one.kill()
        bench.kill()


PARENT = """
import subprocess, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300) # left behind"])
HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


def test_what_a_process_has_started_ends_with_it() -> None:
    with running([sys.executable, "-c", PARENT, str(port := free_port())], port, "/"):
        (child,) = (one for one in _all_below(os.getpid()) if _command(one).endswith("# left behind"))
    _, alive = psutil.wait_procs([child], timeout=10)
    assert alive == []
