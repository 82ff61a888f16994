"""Release plans with real services behind a real router: splits, copies, promotion, rollback, services that die."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from registry.core.errors import MissingService, NotFound, Refused
from registry.core.settings import settings
from serving.guard.controller import Controller
from serving.releases import deploy, endpoints, history, packaging, store
from serving.releases.packaging import process_name
from serving.releases.plans import Plan
from serving.router import traffic
from tests.bundles import MODEL, make_scan, make_tiny_bundle
from tests.serving import controlled
from tests.serving.conftest import Numbered, Packaged, Processes
from tests.serving.removal import retire, withdraw
from tests.waiting import until

RAW = {"Content-Type": "application/gzip"}
PREDICT = f"/v1/models/{MODEL}/predict"
SCAN = make_scan(1)
FOLLOWS_S = 2.0


@pytest.fixture(scope="module")
def three(project: Path, packaged: dict[int, Packaged]) -> dict[int, Packaged]:
    """Also version 3, which finds no skin."""
    bundle = make_tiny_bundle(project / "bundle-3", "version 3", threshold=2.0)
    version = Numbered(MODEL, 3)
    return {**packaged, 3: Packaged(version, bundle, packaging.package(version, bundle))}


def _routes(router: str) -> dict[str, Any]:
    return dict(httpx.get(f"{router}/-/routes", timeout=30).json())


def _plan(kind: Any, second: int = 2, **more: Any) -> Plan:
    return Plan(MODEL, kind, live=1, second=second, **more)


def _begin(plan: Plan, three: dict[int, Packaged], processes: Processes, router: str) -> Plan:
    _, second = plan.both()
    other = three[second]
    return controlled.begin(plan, other.version, other.tag, processes, router)


def _back(router: str) -> None:
    deploy.follow(deploy.roll_back(MODEL), router)


def _ask(router: str, **headers: str) -> httpx.Response:
    return httpx.post(f"{router}{PREDICT}", content=SCAN, headers={**RAW, **headers}, timeout=60)


def _warm_time_is_over() -> None:
    from serving.releases.models import Release

    Release.objects.filter(model=MODEL).update(since=datetime(2020, 1, 1, tzinfo=UTC))


def _who(answer: httpx.Response) -> tuple[int, str, str]:
    return answer.status_code, answer.headers.get("x-model-version", ""), answer.headers.get("x-release-role", "")


async def _under_load(
    router: str, during: Callable[[], Awaitable[Any]], callers: int = 4
) -> list[tuple[int, str, str]]:
    """What callers saw who asked without a pause before, during and after."""
    seen: list[tuple[int, str, str]] = []
    stop = asyncio.Event()

    async def call() -> None:
        async with httpx.AsyncClient(timeout=60) as client:
            while not stop.is_set():
                seen.append(_who(await client.post(f"{router}{PREDICT}", content=SCAN, headers=RAW)))
                await asyncio.sleep(0.02)  # leaves a starting service some of the machine

    running = [asyncio.create_task(call()) for _ in range(callers)]
    await asyncio.sleep(0.5)
    await during()
    await asyncio.sleep(0.5)
    stop.set()
    await asyncio.gather(*running)
    return seen


def _counts(version: int, role: str, enough: Callable[[traffic.RoleCounts], Any]) -> traffic.RoleCounts:
    """The counts of a version, once the router has written enough of them down."""

    def read() -> traffic.RoleCounts | None:
        since = datetime.now(UTC) - timedelta(minutes=10)
        revision = (store.plan(MODEL) or _plan("all")).revision
        found = traffic.read(MODEL, since=since, revision=revision).get((version, role))
        return found if found and enough(found) else None

    found = until(read)
    assert isinstance(found, traffic.RoleCounts)
    return found


def test_a_canary_gets_its_share_and_every_role_is_said(
    live: str, three: dict[int, Packaged], processes: Processes
) -> None:
    _begin(_plan("canary", share=50), three, processes, live)
    seen = Counter(_who(_ask(live)) for _ in range(80))
    assert seen.keys() == {(200, "1", "live"), (200, "2", "canary")}
    assert 15 <= seen[200, "2", "canary"] <= 65  # 1 in 10^8 by chance
    assert _counts(2, "canary", lambda c: c.calls == seen[200, "2", "canary"]).latencies.quantile(0.5) > 0

    store.change(MODEL, "step", share=99)
    until(lambda: _routes(live)["routes"][MODEL]["share"] == 99, FOLLOWS_S)


def test_a_sticky_caller_always_meets_the_same_version(
    live: str, three: dict[int, Packaged], processes: Processes
) -> None:
    _begin(_plan("ab", share=50, sticky="caller"), three, processes, live)
    assert len({_who(_ask(live)) for _ in range(20)}) == 1
    assert _ask(live, **{"X-Release-Role": "canary"}).headers["x-release-role"] in ("a", "b"), "callers choose no role"


def test_shadow_answers_are_compared_and_never_seen(
    live: str, three: dict[int, Packaged], processes: Processes
) -> None:
    _begin(_plan("shadow", second=3), three, processes, live)
    for accept in ("application/json", "application/x-nifti", "image/jpeg"):
        answer = _ask(live, Accept=accept)
        assert _who(answer) == (200, "1", "live")
        assert answer.headers["content-type"].startswith(accept)
    counts = _counts(3, "shadow", lambda c: c.compared == 3)
    assert (counts.calls, counts.errors, counts.disagreed) == (3, 0, 3)
    assert counts.agreement / 3 < 0.8

    victim = processes.running[process_name(three[3].tag)].process
    victim.kill()
    victim.wait()
    assert {_who(_ask(live)) for _ in range(5)} == {(200, "1", "live")}
    _counts(3, "shadow", lambda c: c.dropped and c.errors)


def test_a_killed_canary_fails_no_request_and_gets_its_share_again(
    live: str, three: dict[int, Packaged], processes: Processes
) -> None:
    _begin(_plan("canary", share=50), three, processes, live)
    name = process_name(three[2].tag)

    async def kill_and_restart() -> None:
        os.kill(processes.running[name].pid, signal.SIGKILL)
        url = processes.running[name].url
        await asyncio.sleep(1)
        assert _routes(live)["routes"][MODEL]["second"]["down"]
        argv = packaging.serve_command(three[2].tag, int(url.rpartition(":")[2]))
        await asyncio.to_thread(processes.start, name, argv, packaging.serve_environment(), f"{url}/readyz")

    seen = asyncio.run(_under_load(live, kill_and_restart, callers=2))
    assert {status for status, _, _ in seen} == {200}
    until(lambda: not _routes(live)["routes"][MODEL]["second"]["down"])
    assert {_who(_ask(live))[1] for _ in range(40)} == {"1", "2"}
    counts = _counts(2, "canary", lambda c: c.errors)
    assert counts.errors == counts.retried


def test_switch_rollback_and_a_killed_live_version_under_load_fail_no_request(
    live: str, three: dict[int, Packaged], processes: Processes
) -> None:
    took = []

    async def switch_and_back() -> None:
        await asyncio.to_thread(controlled.roll_out, three[2].version, three[2].tag, processes, live)
        await asyncio.sleep(0.5)
        for _ in range(3):  # back, forth and back
            began = time.monotonic()
            await asyncio.to_thread(_back, live)
            took.append(time.monotonic() - began)
            await asyncio.sleep(0.5)
        os.kill(processes.running[process_name(three[1].tag)].pid, signal.SIGKILL)
        await asyncio.sleep(1)

    seen = asyncio.run(_under_load(live, switch_and_back))
    assert {status for status, _, _ in seen} == {200}
    assert min(took) < 2, took
    assert seen[-1] == (200, "2", "live"), "the version that is kept warm stands in"
    assert [event.what for event in history.events(MODEL)][:5] == ["rollback"] * 3 + ["release"] * 2


def test_promotion_keeps_the_old_version_warm_and_rollback_returns_to_it(
    live: str, three: dict[int, Packaged], processes: Processes
) -> None:
    with pytest.raises(Refused, match="no canary"):
        deploy.promote(MODEL)
    begun = _begin(_plan("canary", share=10), three, processes, live)
    with pytest.raises(Refused, match="running canary of version 2"):
        _begin(_plan("shadow", second=3), three, processes, live)
    with pytest.raises(Refused, match="changed meanwhile"):
        deploy.promote(MODEL, revision=begun.revision - 1)
    promoted = controlled.change(deploy.promote, MODEL, processes, live, why="looks well")
    assert (promoted.live, promoted.previous, promoted.state) == (2, 1, "promoted")
    assert _who(_ask(live)) == (200, "2", "live")
    back = controlled.change(deploy.roll_back, MODEL, processes, live)
    assert (back.live, back.previous) == (1, 2)
    assert _who(_ask(live)) == (200, "1", "live")

    _warm_time_is_over()
    controlled.settle(Controller(processes, live))
    assert process_name(three[2].tag) not in processes.running
    with pytest.raises(NotFound, match="not kept warm"):
        deploy.roll_back(MODEL)
    assert _who(_ask(live)) == (200, "1", "live")


def test_rollback_ends_a_canary_and_stops_its_service(
    live: str, three: dict[int, Packaged], processes: Processes
) -> None:
    _begin(_plan("canary", share=99), three, processes, live)
    assert process_name(three[2].tag) in processes.running
    plan = controlled.change(deploy.roll_back, MODEL, processes, live, who="a test", why="enough")
    assert (plan.kind, plan.live, plan.state, plan.why) == ("all", 1, "rolled_back", "enough")
    assert process_name(three[2].tag) not in processes.running
    assert {_who(_ask(live)) for _ in range(10)} == {(200, "1", "live")}
    with pytest.raises(Refused, match="no previous version"):
        deploy.roll_back(MODEL)
    last = history.events(MODEL)[0]
    assert (last.what, last.who, last.why) == ("rollback", "a test", "enough")


def test_a_router_that_is_late_is_named_and_the_plan_is_changed_all_the_same(
    live: str, three: dict[int, Packaged], processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    _begin(_plan("canary", share=50), three, processes, live)
    monkeypatch.setattr(deploy, "CONFIRM_S", 0.3)
    changed = deploy.roll_back(MODEL)
    with pytest.raises(MissingService, match="the plan is changed, but the router at"):
        deploy.follow(changed, f"http://127.0.0.1:{deploy.free_port()}")
    assert store.plan(MODEL) == changed
    assert (changed.live, changed.second, changed.state) == (1, None, "rolled_back")


def test_a_plan_that_cannot_begin_changes_nothing(live: str, three: dict[int, Packaged], processes: Processes) -> None:
    before = store.plan(MODEL)
    broken = Processes(settings().var / "logs")
    broken.running = processes.running
    broken.start = lambda *_, **__: (_ for _ in ()).throw(MissingService("no start"))  # type: ignore[method-assign]
    with pytest.raises(MissingService, match="no start"):
        _begin(_plan("canary", share=10), three, broken, live)
    assert store.plan(MODEL) == before
    assert process_name(three[2].tag) not in processes.running
    with pytest.raises(Refused, match="version 7 of skin_segmentation is not live"):
        _begin(replace(_plan("canary", share=10), live=7), three, processes, live)


def test_a_proxy_of_the_environment_is_not_asked_for_router_and_services(
    router: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{deploy.free_port()}")
    urllib.request.install_opener(None)  # the one of before remembers the environment of its first use
    endpoints.announce(MODEL, 1, f"{router}/healthz?", "")  # and what is asked of it is its query
    plan = store.switch(MODEL, 1)
    try:
        deploy.follow(plan, router)
        assert deploy.is_ready(endpoints.Endpoint(MODEL, 1, f"{router}/healthz?", ""))
    finally:
        withdraw(MODEL)
        retire(MODEL, 1)


@pytest.fixture
def reachable_router(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Settings of a machine whose router others can reach."""
    monkeypatch.setenv("VISIONLOOP_HOST", "0.0.0.0")
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_a_service_is_on_this_machine_only_where_the_router_is_not(
    reachable_router: None, three: dict[int, Packaged]
) -> None:
    processes = Processes(settings().var / "logs")
    controlled.roll_out(three[1].version, three[1].tag, processes, "")
    endpoint = endpoints.announced(MODEL)[MODEL, 1]
    try:
        host, _, port = endpoint.url.removeprefix("http://").partition(":")
        assert (host, deploy.is_ready(endpoint)) == ("127.0.0.1", True)
        with pytest.raises(ConnectionRefusedError):  # another address of this machine
            socket.create_connection(("127.0.0.2", int(port)), timeout=5)
        assert deploy.service_command(three[1].tag, int(port))[-2:] == ["--host", "127.0.0.1"]
    finally:
        retire(MODEL, 1)
        withdraw(MODEL)
        processes.stop_all()
