"""The long measurements, made short: what they count is there, and what is missing is noticed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import httpx
import pytest

from serving.releases import deploy, endpoints, store
from serving.releases.packaging import serve_command, serve_environment
from tests.benchmarks import endurance, load
from tests.bundles import MODEL, make_scan
from tests.serving.conftest import Packaged, Processes, Running
from tests.serving.removal import withdraw
from tests.waiting import until


@pytest.fixture
def restarted(
    router: str, processes: Processes, packaged: dict[int, Packaged], monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Version 1 behind the router; who kills it finds it started again, as by the supervisor."""
    port = deploy.free_port()
    argv, env = serve_command(packaged[1].tag, port), serve_environment()

    def start() -> Running:
        one = processes.start("endures", argv, env, f"http://127.0.0.1:{port}/readyz")
        endpoints.announce(MODEL, 1, one.url, packaged[1].tag)
        return one

    def kill(model: str) -> str:
        said = killed(model)
        start()
        return said

    killed = endurance.kill_service
    monkeypatch.setattr(endurance, "kill_service", kill)
    monkeypatch.setattr(endurance, "sample_input", lambda model: make_scan(1))
    start()
    store.switch(MODEL, 1)
    until(lambda: httpx.get(f"{router}/-/routes").json()["routes"].get(MODEL, {}).get("version") == 1)
    yield router
    processes.stop("endures")
    withdraw(MODEL)


def test_every_prediction_is_in_the_log_through_a_kill_and_a_locked_database(
    restarted: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(endurance, "LOCKED_S", 2.0)
    assert asyncio.run(endurance.log(MODEL, 400)) == 0
    said = capsys.readouterr().out
    assert "kill -9 after" in said
    assert "database locked for 2 s" in said
    assert "| answered and not in the log | 0 | 0 |" in said


def test_a_prediction_that_is_not_in_the_log_is_noticed(
    restarted: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(endurance, "LOCKED_S", 0.1)
    monkeypatch.setattr(endurance, "SHIPPED_S", 3.0)
    record = load.CountingCaller.__call__

    async def and_one_more(self: load.CountingCaller) -> None:
        await record(self)
        if len(self.tally.ids) == 20:
            self.tally.ids.append("f" * 32)

    monkeypatch.setattr(load.CountingCaller, "__call__", and_one_more)
    assert asyncio.run(endurance.log(MODEL, 60)) >= 1
    assert "| answered and not in the log | 1 | 0 |" in capsys.readouterr().out


def test_calls_come_at_a_steady_rate_whether_answered_or_not() -> None:
    began = list[float]()

    async def slow() -> None:
        began.append(time.perf_counter())
        await asyncio.sleep(0.2)

    asyncio.run(load.open_loop(slow, 100, 1.0))
    assert len(began) == pytest.approx(101, abs=1)
    assert began[-1] - began[0] == pytest.approx(1.0, abs=0.1)


def test_a_long_tail_and_a_growing_memory_are_misses(capsys: pytest.CaptureFixture[str]) -> None:
    seen = load.Tally(times=[(n / 10, 10.0, 200) for n in range(5000)])
    assert endurance.report(seen, [], [{"router": 500.0 + n % 2} for n in range(500)]) == 0
    tail = load.Tally(times=[(n / 10, 50.0 if n % 50 == 0 else 10.0, 200) for n in range(5000)])
    assert endurance.report(tail, [], [{"router": 500.0}] * 500) == 2
    assert endurance.report(seen, [], [{"router": 99.0, "service": 500.0 + n} for n in range(500)]) == 1
    refused = load.Tally(times=[*seen.times, (1.0, 1.0, 429)])
    refused.refusals["429"] += 1
    assert endurance.report(refused, [], [{"router": 500.0}] * 500) == 1
    assert "| not answered with 200 | 1 " in capsys.readouterr().out


def test_the_slow_calls_are_put_together_by_when_they_happen() -> None:
    steady = [(0.1 * n, 10.0, 200) for n in range(600)]
    slow = [(20.0, 300.0, 200), (21.5, 900.0, 200), (23.0, 200.0, 503), (40.0, 150.0, 200), (50.0, 99.0, 200)]
    assert endurance.slow_spells(steady + slow) == [(20.0, 23.0, 3, 900.0), (40.0, 40.0, 1, 150.0)]
    assert endurance.slow_spells([]) == []
