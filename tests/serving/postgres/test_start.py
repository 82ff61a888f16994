"""What `visionloop up` starts while PostgreSQL is away."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from serving import deploy, releases
from tests.bundles import MODEL
from tests.clusters import Cluster
from tests.serving.postgres.conftest import running, stopped, until


def test_the_start_of_the_services_waits_for_the_database(company: Path, postgres: Cluster) -> None:
    for number in (1, 2):
        releases.announce(MODEL, number, f"http://127.0.0.1:{deploy.free_port()}", f"{MODEL}:{number}", None)
    releases.switch(MODEL, 2)
    log = company / "releases.log"
    with ExitStack() as held:
        with stopped(postgres, "fast"):
            starting = held.enter_context(running("flows.stack.services", log))
            until(lambda: "does not answer" in log.read_text())
            time.sleep(1)
            assert starting.poll() is None
        assert starting.wait(60) == 1  # of one service, for which there is no stack here
    assert "the stack is not up" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert releases.announced(MODEL).keys() == {(MODEL, 2)}, "what nobody wants is retired"
    releases.withdraw(MODEL)
