"""The guard's process while PostgreSQL is away: it waits, where ending would make its supervisor give it up."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from registry.settings import settings
from serving import deploy, releases
from tests.bundles import MODEL
from tests.clusters import Cluster
from tests.serving.conftest import PROJECT
from tests.serving.postgres.conftest import stopped, until


def test_it_outlives_an_outage_at_its_start_and_later(company: Path, postgres: Cluster) -> None:
    for number in (1, 2):
        releases.announce(MODEL, number, f"http://127.0.0.1:{deploy.free_port()}", f"{MODEL}:{number}", None)
        releases.switch(MODEL, number)
    environment = {**settings().child_environment(), "PYTHONPATH": str(PROJECT), "VISIONLOOP_WARM_S": "1"}
    environment["VISIONLOOP_ROUTER_PORT"] = str(deploy.free_port())  # nobody is there to ask
    log = company / "guard.log"
    with stopped(postgres, "fast"), log.open("wb") as out:
        guard = subprocess.Popen([sys.executable, "-m", "flows.guard"], env=environment, stdout=out, stderr=out)
        until(lambda: "does not answer" in log.read_text())
    try:
        until(lambda: (MODEL, 1) not in releases.announced(MODEL))  # its time as a warm version was over
        with stopped(postgres, "immediate"):
            until(lambda: "the database is away" in log.read_text())
            time.sleep(2.5)  # looks that fail
            assert guard.poll() is None
        releases.switch(MODEL, 2)
        releases.announce(MODEL, 1, f"http://127.0.0.1:{deploy.free_port()}", f"{MODEL}:1", None)
        until(lambda: (MODEL, 1) not in releases.announced(MODEL))
        assert log.read_text().count("the database is away") == 1
        assert "Traceback" not in log.read_text()
    finally:
        guard.terminate()
        assert guard.wait(20) == 0
        releases.withdraw(MODEL)
