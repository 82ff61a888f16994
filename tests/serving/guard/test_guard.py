"""The guard with real services behind a real router: versions that fail, that are slow, that are harmless."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from registry.core import journal
from registry.core.settings import settings
from serving.guard import ab_test, latency_test
from serving.guard.pages import ReleaseDecision
from serving.guard.rollout import Guard
from serving.guard.sequential_tests import pairs_needed
from serving.releases import deploy, endpoints, history, packaging, store
from serving.releases.packaging import process_name
from serving.releases.plans import Limits, Plan
from serving.router.traffic import RoleCounts
from tests.bundles import MODEL, make_scan, make_tiny_bundle
from tests.serving import controlled
from tests.serving.conftest import Numbered, Packaged, Processes, Running
from tests.serving.counted import latencies, predicted, wrote
from tests.waiting import until

if TYPE_CHECKING:
    from serving.releases.models import ReleaseEvent

RAW = {"Content-Type": "application/gzip"}
PREDICT = f"/v1/models/{MODEL}/predict"
QUICK = Limits(min_calls=20, min_seconds=0, latency_ratio=50)  # the machine under test may be busy with other things

CRASHES = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
    def do_POST(self):
        os._exit(1)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def guard(live: str, processes: Processes) -> Guard:
    return Guard(processes, live)


def _ask(router: str, count: int) -> set[int]:
    """The statuses that callers saw."""
    with httpx.Client(timeout=60) as client, ThreadPoolExecutor(2) as pool:
        body = make_scan(1)
        return set(
            pool.map(lambda _: client.post(f"{router}{PREDICT}", content=body, headers=RAW).status_code, range(count))
        )


def _now() -> Plan:
    plan = store.plan(MODEL)
    assert plan is not None
    return plan


def _play(router: str, guard: Guard, count: int) -> set[int]:
    """Asks so many times and lets the guard look, until one version is left; the shares that the second one had."""
    shares = set[int]()

    def over() -> bool:
        shares.add(_now().share)
        assert _ask(router, count) == {200}
        guard.look()
        return _now().second is None

    until(over, 120)
    return shares


def _page() -> tuple[dict[str, Any], str]:
    """The decision that the latest event names: its JSON and its HTML."""
    path = settings().var / history.events(MODEL)[0].page
    return json.loads(path.with_suffix(".json").read_text()), path.read_text()


def test_a_canary_whose_process_dies_on_every_request_is_rolled_back_and_no_caller_sees_it(
    live: str, guard: Guard, packaged: dict[int, Packaged], processes: Processes
) -> None:
    port = deploy.free_port()
    # What the supervisor does: starts it again whenever it dies.
    again = 'while true; do "$0" -c "$1" "$2"; done'
    loop = subprocess.Popen(["bash", "-c", again, sys.executable, CRASHES, str(port)], start_new_session=True)
    url, name = f"http://127.0.0.1:{port}", process_name(packaged[2].tag)
    processes.running[name] = Running(loop, url, Path(os.devnull))
    try:
        endpoint = endpoints.announce(MODEL, 2, url, packaged[2].tag)
        until(lambda: deploy.is_ready(endpoint))
        plan = store.change(MODEL, "canary", kind="canary", second=2, share=50, limits=QUICK.to_json())
        deploy.follow(plan, live)
        _play(live, guard, 10)
    finally:
        processes.running.pop(name, None)
        os.killpg(loop.pid, signal.SIGKILL)
    after = _now()
    assert (after.kind, after.live, after.state) == ("all", 1, "rolled_back")
    assert "errors:" in after.why
    decision, html = _page()
    assert (decision["granted"], decision["kind"], decision["challenger"]) == (False, "release", 2)
    assert "calls failed" in html
    assert "rolled back" in html
    assert any(line.get("data", {}).get("alarm") for line in journal.read()[0])
    assert _ask(live, 5) == {200}


@pytest.mark.slow
def test_a_canary_that_is_slow_is_rolled_back(
    live: str, guard: Guard, project: Path, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency_test, "MOMENT_S", 1.0)
    bundle = make_tiny_bundle(project / "bundle-slow", "a slow one", work=60)
    slow = Packaged(Numbered(MODEL, 4), bundle, packaging.package(Numbered(MODEL, 4), bundle))
    plan = Plan(MODEL, "canary", 1, 4, share=50, limits=replace(QUICK, latency_ratio=3))
    controlled.begin(plan, slow.version, slow.tag, processes, live)
    _play(live, guard, 10)
    assert _now().state == "rolled_back"
    decision, _ = _page()
    (broken,) = [reason for reason in decision["reasons"] if not reason["passed"] and "gate" not in reason["rule"]]
    assert broken["rule"] == "latency"
    controlled.settle(guard.controller)
    assert process_name(slow.tag) not in processes.running


def test_a_harmless_canary_goes_through_its_steps_and_takes_over(
    live: str, guard: Guard, packaged: dict[int, Packaged], processes: Processes
) -> None:
    plan = Plan(MODEL, "canary", 1, 2, share=40, steps=(40, 80, 100), limits=QUICK)
    controlled.begin(plan, packaged[2].version, packaged[2].tag, processes, live)
    assert _play(live, guard, 20) == {40, 80}
    after = _now()
    assert (after.kind, after.live, after.previous, after.state) == ("all", 2, 1, "promoted"), after.why
    assert [event.what for event in history.events(MODEL, 3)] == ["promote", "step", "canary"]
    decision, html = _page()
    assert decision["granted"]
    assert decision["reasons"][-1]["found"] == "released anyway: a test"
    assert "took over" in html
    assert {row["role"] for row in decision["roles"]} == {"live", "canary"}


def test_a_canary_that_is_being_restarted_takes_over_when_it_answers_and_no_page_says_so_before(
    live: str, guard: Guard, packaged: dict[int, Packaged], processes: Processes
) -> None:
    def pages() -> int:
        return len(list((settings().var / "decisions").rglob("*.html")))

    nobody = f"http://127.0.0.1:{deploy.free_port()}"
    endpoints.announce(MODEL, 2, nobody, packaged[2].tag, anyway="a test")
    asleep = subprocess.Popen(["sleep", "600"])  # as its supervisor says, it is being started again
    processes.running[process_name(packaged[2].tag)] = Running(asleep, nobody, Path(os.devnull))
    canary = {"kind": "canary", "second": 2, "share": 80, "steps": [80, 100], "limits": QUICK.to_json()}
    plan, before = store.change(MODEL, "canary", **canary), pages()
    wrote(plan, 1, "live", RoleCounts(100, 1, latencies=latencies(*[10] * 99)))
    wrote(plan, 2, "canary", RoleCounts(100, 0, latencies=latencies(*[10] * 100)))
    for _ in range(3):
        guard.look()
    assert (_now(), pages()) == (plan, before)
    endpoints.announce(MODEL, 2, endpoints.announced(MODEL)[MODEL, 1].url, packaged[2].tag)
    guard.look()
    assert (_now().live, pages()) == (2, before + 1)


@pytest.mark.parametrize(("failed", "state"), [(0, "promoted"), (90, "rolled_back")])
def test_a_change_leaves_a_page_a_fact_and_something_for_the_registry(
    live: str, packaged: dict[int, Packaged], processes: Processes, failed: int, state: str
) -> None:
    started = Plan(MODEL, "canary", 1, 2, share=80, steps=(80, 100), limits=QUICK)
    plan = controlled.begin(started, packaged[2].version, packaged[2].tag, processes, live)
    _counted(plan, failed)
    left: list[ReleaseEvent] = []
    guard = Guard(processes, live, write_registry=left.append)
    said = len(journal.read()[0])
    guard.look()
    assert _now().state == state
    assert _page()[0]["granted"] == (state == "promoted")
    (line,) = (line for line in journal.read()[0][said:] if line.get("step") == "release")
    assert line["data"].get("alarm", False) == (state == "rolled_back")
    assert left[0].todo == ({"attach": 2} if state == "promoted" else {"left": 2, "attach": 2})
    guard.look()
    assert len(left) == 2, "again until it is done"
    history.finished(left[0].id)
    guard.look()
    assert len(left) == 2
    controlled.settle(guard.controller)
    assert (process_name(packaged[2].tag) in processes.running) == (state == "promoted")


def test_a_decision_that_somebody_overtook_leaves_no_page(
    live: str, guard: Guard, packaged: dict[int, Packaged], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan(MODEL, "canary", 1, 2, share=80, steps=(80, 100), limits=QUICK)
    _counted(_began(plan, packaged[2].tag), 0)
    promote = deploy.promote

    def overtaken(*arguments: Any, **more: Any) -> Plan:
        deploy.roll_back(MODEL, who="somebody")
        return promote(*arguments, **more)

    monkeypatch.setattr(deploy, "promote", overtaken)
    before = set((settings().var / "decisions").rglob("*"))
    guard.look()
    assert (_now().live, _now().state) == (1, "rolled_back")
    assert set((settings().var / "decisions").rglob("*")) == before


def test_a_page_that_could_not_be_written_is_written_later(
    live: str, guard: Guard, packaged: dict[int, Packaged], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the guard is killed between the change and its page."""
    plan = Plan(MODEL, "canary", 1, 2, share=80, steps=(80, 100), limits=QUICK)
    _counted(_began(plan, packaged[2].tag), 90)
    with monkeypatch.context() as full:
        full.setattr(ReleaseDecision, "save", lambda self: (_ for _ in ()).throw(OSError("the disk is full")))
        guard.look()
    assert _now().state == "rolled_back"
    page = settings().var / history.events(MODEL)[0].page
    assert not page.exists()
    guard.look()
    decision, html = _page()
    assert (decision["granted"], decision["challenger"]) == (False, 2)
    assert "calls failed" in html


def _began(plan: Plan, tag: str) -> Plan:
    """The plan, with version 2 answering where version 1 does: these tests do not look at its answers."""
    endpoints.announce(MODEL, 2, endpoints.announced(MODEL)[MODEL, 1].url, tag, anyway="a test")
    fields = {"kind": plan.kind, "second": 2, "share": plan.share, "steps": list(plan.steps), "state": "running"}
    return store.change(MODEL, plan.kind, **fields, limits=plan.limits.to_json())


def _counted(plan: Plan, failed: int) -> None:
    """Enough calls of both versions for a decision."""
    wrote(plan, 1, "live", RoleCounts(100, 1, latencies=latencies(*[10] * 99)))
    wrote(plan, 2, "canary", RoleCounts(100, failed, latencies=latencies(*[10] * (100 - failed))))


def test_an_ab_comparison_ends_with_a_verdict_and_both_go_on_answering(
    live: str, guard: Guard, packaged: dict[int, Packaged]
) -> None:
    plan = _began(Plan(MODEL, "ab", 1, 2, share=50, limits=QUICK), packaged[2].tag)
    guard.look()
    assert _now() == plan, "nothing is known yet"
    from monitoring.log.models import Feedback

    now = datetime.now(UTC)
    for role, version, right in (("a", 1, 0.2), ("b", 2, 0.9)):
        for n in range(60):
            row = predicted(f"{role}{plan.revision}-{n}", version, role)
            Feedback.objects.create(prediction=row, time=now, score=float(n % 10 < 10 * right))
    guard.look()
    after = _now()
    assert (after.kind, after.state, after.live, after.second) == ("ab", "decided", 1, 2)
    assert (after.revision, after.since) == (plan.revision, plan.since), "calls go on being counted where they were"
    decision, html = _page()
    assert decision["granted"]
    assert "b is better" in html
    assert f"within {pairs_needed(0.1)} pairs" in html
    assert "with probability 0.05 at most" in html
    guard.look()
    assert history.events(MODEL)[0].what == "verdict", "it is said once"
    assert deploy.promote(MODEL).live == 2


def test_labels_of_both_versions_are_scored_with_the_version_thatpredicted(
    live: str, guard: Guard, packaged: dict[int, Packaged], processes: Processes
) -> None:
    from monitoring.feedback import performance
    from monitoring.log.models import Feedback

    plan = Plan(MODEL, "ab", 1, 2, share=50, limits=QUICK)
    controlled.begin(plan, packaged[2].version, packaged[2].tag, processes, live)
    given: dict[str, str] = {}
    while len(given) < 2:
        answer = httpx.post(
            f"{live}{PREDICT}", content=make_scan(1), headers={**RAW, "Accept": "application/x-nifti"}, timeout=60
        )
        role = answer.headers["x-release-role"]
        if role not in given:
            given[role] = answer.headers["x-prediction-id"]
            performance.give_label(given[role], answer.content, "a test", wait_s=30)
    scored = Feedback.objects.filter(prediction_id__in=given.values(), score__isnull=False)
    until(lambda: guard.look() or scored.count() == 2, 120)
    assert [row.score for row in scored] == [1.0, 1.0]
    assert {role: ab_test.scores_of(_now(), role) for role in given} == {"a": [1.0], "b": [1.0]}


def test_the_version_before_is_ended_when_its_time_is_over(
    live: str, guard: Guard, packaged: dict[int, Packaged], processes: Processes
) -> None:
    controlled.roll_out(packaged[2].version, packaged[2].tag, processes, live)
    guard.look()
    assert process_name(packaged[1].tag) in processes.running
    from serving.releases.models import Release

    Release.objects.filter(model=MODEL).update(since=datetime(2020, 1, 1, tzinfo=UTC))
    controlled.settle(guard.controller)
    assert process_name(packaged[1].tag) not in processes.running
    assert _ask(live, 2) == {200}
