"""The guard while PostgreSQL is away: it waits, where ending would make its supervisor give it up."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from serving.guard import guardrails
from serving.guard.rollout import Guard
from serving.releases import deploy, endpoints, store
from serving.releases.plans import Limits, Plan
from serving.router.traffic import RoleCounts
from tests.bundles import MODEL
from tests.clusters import Cluster
from tests.serving.controlled import settle
from tests.serving.counted import wrote
from tests.serving.postgres.conftest import running, start_again, stopped
from tests.serving.removal import withdraw
from tests.waiting import until


def announced(*numbers: int) -> None:
    for number in numbers:
        endpoints.announce(MODEL, number, f"http://127.0.0.1:{deploy.free_port()}", f"{MODEL}:{number}")


def failing_canary() -> None:
    """One that fails so often that a look is enough to end it."""
    limits = Limits(min_calls=20, min_seconds=0).to_json()
    plan = store.change(MODEL, "canary", kind="canary", second=2, share=50, limits=limits)
    for version, role, errors in ((1, "live", 0), (2, "canary", 30)):
        wrote(plan, version, role, RoleCounts(100, errors))


def ended() -> bool:
    plan = store.plan(MODEL)
    return plan is not None and plan.state == "rolled_back"


def test_it_outlives_an_outage_at_its_start_and_later(company: Path, postgres: Cluster) -> None:
    announced(1, 2)
    store.switch(MODEL, 1)
    failing_canary()
    log, nobody = company / "guard.log", str(deploy.free_port())
    with ExitStack() as held:
        with stopped(postgres, "fast"):
            guard = held.enter_context(running("flows.orchestration.guard", log, router_port=nobody))
            until(lambda: "does not answer" in log.read_text())
        until(ended)
        with stopped(postgres, "immediate"):
            until(lambda: "the database is away" in log.read_text())
            time.sleep(2.5)  # looks that fail
            assert guard.poll() is None
        failing_canary()
        until(ended)
        guard.terminate()
        assert guard.wait(20) == 0
    assert log.read_text().count("the database is away") == 1
    assert "Traceback" not in log.read_text(), log.read_text()
    withdraw(MODEL)


class Running:
    """Never asked."""

    pid, url = None, "http://127.0.0.1:9"


class Supervisor:
    """Stops what it is told to stop; there is nothing."""

    def __init__(self) -> None:
        self.stopped: list[str] = []

    def services(self) -> dict[str, Running]:
        return {f"{MODEL}-{number}": Running() for number in (1, 2) if f"{MODEL}-{number}" not in self.stopped}

    def start(self, *_: object, **__: object) -> Running:
        raise AssertionError("all of it is there")

    def stop(self, name: str) -> None:
        self.stopped.append(name)


def test_a_canary_stays_as_it_is_over_an_outage_and_is_watched_again_afterwards(
    company: Path, postgres: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    announced(1, 2)
    store.switch(MODEL, 1)
    limits = Limits(min_calls=20, min_seconds=0).to_json()
    plan = store.change(MODEL, "canary", kind="canary", second=2, share=50, limits=limits)
    supervisor = Supervisor()
    guard = Guard(supervisor, router="")
    guard.look()
    monkeypatch.setattr(guardrails, "SILENT_S", 1.0)
    with monkeypatch.context() as crash:
        crash.setattr(store, "plans", _then(store.plans, lambda: postgres.stop("immediate")))
        guard.look()
    try:
        time.sleep(1.5)
        guard.look()
    finally:
        start_again(postgres)
    guard.look()
    assert store.plan(MODEL) == plan, "that nobody could ask for so long does not count"
    of_the_guard = [record for record in caplog.records if record.name == "visionloop.guard"]
    said = [record.getMessage().partition(":")[0] for record in of_the_guard]
    assert said == ["the database is away, the plans stay as they are", "the database is back"]
    assert not [record for record in of_the_guard if record.exc_info]
    for version, role, errors in ((1, "live", 0), (2, "canary", 30)):
        wrote(plan, version, role, RoleCounts(100, errors))
    guard.look()
    after = store.plan(MODEL)
    assert after is not None
    assert (after.live, after.second, after.state) == (1, None, "rolled_back")
    settle(guard.controller)
    assert supervisor.stopped == [f"{MODEL}-2"]
    withdraw(MODEL)


def _then(work: Callable[[], list[Plan]], more: Callable[[], None]) -> Callable[[], list[Plan]]:
    def both() -> list[Plan]:
        found = work()
        more()
        return found

    return both
