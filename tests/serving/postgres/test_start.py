"""What `visionloop up` starts while PostgreSQL is away."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from serving.releases import deploy, endpoints, store
from tests.bundles import MODEL
from tests.clusters import Cluster
from tests.serving.postgres.conftest import running, stopped
from tests.serving.removal import withdraw
from tests.waiting import until


def test_who_waits_for_the_services_waits_for_the_database_first(company: Path, postgres: Cluster) -> None:
    for number in (1, 2):
        endpoints.announce(MODEL, number, f"http://127.0.0.1:{deploy.free_port()}", f"{MODEL}:{number}")
    store.switch(MODEL, 2)
    log = company / "releases.log"

    def over() -> bool:
        endpoints.note_problem(MODEL, 2, "no Bento")  # as the guard does
        return waiting.poll() is not None

    with ExitStack() as held:
        with stopped(postgres, "fast"):
            waiting = held.enter_context(running("flows.stack.wait_for_services", log))
            until(lambda: "does not answer" in log.read_text())
            time.sleep(1)
            assert waiting.poll() is None
        until(over)
        assert waiting.returncode == 1
    assert f"version 2 of {MODEL} could not be started: no Bento" in log.read_text()
    assert "Traceback" not in log.read_text()
    withdraw(MODEL)
