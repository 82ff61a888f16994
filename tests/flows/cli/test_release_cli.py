"""`visionloop release`: what it refuses and how it says so, and the status of a plan."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows import champions
from flows.cli import execute, loop, release
from flows.orchestration import running
from flows.stack.control import Stack
from flows.steps import deciding
from registry.core import journal
from registry.core.settings import Settings
from registry.versions.mlflow_registry import Version, Versions
from serving.guard.rollout import Guard
from serving.releases import deploy, endpoints, history, packaging, store
from serving.releases.plans import NEVER, Plan, in_words
from serving.router.traffic import RoleCounts
from tests.bundles import MODEL, make_scan, make_tiny_bundle
from tests.databases import own_database
from tests.serving.controlled import Numbered
from tests.serving.counted import latencies, wrote
from tests.serving.removal import retire
from tests.waiting import until


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["canary", "2", "--share", "0"], 3, "the share is 0 %"),
        (["canary", "2", "--share", "100"], 3, "the share is 100 %"),
        (["ab", "1", "2", "--share", "-5"], 3, "the share is -5 %"),
        (["ab", "2"], 2, "the versions are 2"),
        (["canary"], 2, "the versions are not named"),
        (["promote", "3"], 2, "the versions are 3"),
        (["shadow", "2", "--share", "10"], 2, "--share means nothing here"),
        (["3", "--share", "10"], 2, "--share means nothing here"),
        (["rollback", "--steps", "10"], 2, "--steps means nothing here"),
        (["canary", "2", "--steps", "50,10"], 3, "the steps are 50, 10"),
        (["canary", "2", "--steps", "few"], 3, "the steps are 'few'"),
        (["canary", "2", "--limit", "speed=2"], 3, "no limit 'speed'"),
        (["canary", "2", "--limit", "drift"], 3, "the limit is 'drift'"),
        (["canary", "2", "--limit", "drift=high"], 3, "the limit drift is 'high'"),
        (["satus"], 2, "did you mean 'status'?"),
        (["undo"], 2, "there is no action 'undo'"),
        (["canray", "2"], 2, "there is no action 'canray'"),
        (["status", "--anyway", "x"], 2, "--anyway means nothing here"),
        (["2", "--json"], 2, "--json means nothing here"),
        (["blue_green", "2"], 8, "the stack is not up"),
        (["all", "2"], 8, "the stack is not up"),
        (["canary", "2"], 8, "the stack is not up"),
        (["promote"], 8, "the stack is not up"),
        (["rollback"], 8, "the stack is not up"),
        (["status"], 4, "no version of skin_segmentation is released"),
    ],
)
def test_what_cannot_be_is_refused_in_one_message(
    config: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, says: str
) -> None:
    with own_database(tmp_path / "own.db"):
        assert execute(["release", MODEL, *arguments]) == code
    said = capsys.readouterr().err
    assert says in said
    assert "fix: " in said
    assert "Traceback" not in said


@pytest.fixture
def database_of_its_own(config: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Versions 1 and 2 answer somewhere, version 1 has the traffic, and the registry says that 1 is champion."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(champions, "champions", lambda **_: {MODEL: 1})
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    with own_database(tmp_path / "own.db"):
        for version in (1, 2):
            endpoints.announce(MODEL, version, f"http://127.0.0.1:{4000 + version}", f"{MODEL}:{version}-x")
        store.switch(MODEL, 1, "a test")
        yield


def _canary(share: int = 10) -> Plan:
    return store.change(MODEL, "canary", "a test", "a try", kind="canary", second=2, share=share, steps=[10, 50, 100])


def _status(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    capsys.readouterr()
    assert execute(["release", MODEL, "status", *options]) == 0
    said = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out)
    if not options:
        assert max(len(line) for line in said.splitlines()) <= 80
        assert "…" not in said
    return said


def test_status_shows_shares_calls_errors_and_latencies_by_role(
    database_of_its_own: None, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, slow = _canary(), latencies(*[250.0] * 12)
    wrote(plan, 2, "canary", RoleCounts(14, 2, 1, latencies=slow))
    said = _status(capsys)
    assert "version 2 of skin_segmentation gets 10 % of the requests, then 50 %, 100 %" in " ".join(said.split())
    row = next(line for line in said.splitlines() if "127.0.0.1:4002" in line)
    for part in ("canary", "2", "10 %", "14", f"{slow.quantile(0.5):.1f}"):
        assert part in row
    assert "90 %" in next(line for line in said.splitlines() if "127.0.0.1:4001" in line)
    assert "version 2 as canary: 1 answered by the other version" in " ".join(said.split())
    assert "a try" in said


def test_status_shows_how_far_the_guard_is(database_of_its_own: None, capsys: pytest.CaptureFixture[str]) -> None:
    plan = _canary()
    wrote(plan, 2, "canary", RoleCounts(4, latencies=latencies(*[250.0] * 4)))
    assert "no guard has looked at this step yet" in _status(capsys)
    guard = Guard(Nobody(), router="")
    guard.controller.look = lambda: None  # type: ignore[method-assign]
    guard.look()
    said = " ".join(_status(capsys).split())
    assert "the guard: 4 of 50 calls and" in said
    assert "until 50 %" in said
    assert "holds errors: 0 of 4 calls failed" in said
    guardrails = json.loads(_status(capsys, "--json"))["guard"]["guardrails"]
    assert {one["rule"] for one in guardrails} >= {"errors", "answers"}


def test_status_says_where_traffic_registry_and_the_gates_word_differ(
    database_of_its_own: None, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoints.note_anyway(MODEL, 2, "the gate's data is old")
    store.switch(MODEL, 2, "a test")
    said = " ".join(_status(capsys).split())
    assert "version 2 has the traffic, version 1 is the registry's champion" in said
    assert "version 2 has traffic without the gate's word: the gate's data is old" in said
    assert "version 1 is kept warm" in said
    retire(MODEL, 1)
    assert "kept warm" not in _status(capsys)


def test_status_has_roles_that_are_over_at_the_end_and_every_service_once(
    database_of_its_own: None, capsys: pytest.CaptureFixture[str]
) -> None:
    store.switch(MODEL, 2, "a test")
    store.switch(MODEL, 1, "a test")  # version 2 is warm, and then the canary
    plan = _canary()
    assert _status(capsys).count("127.0.0.1:4002") == 1
    wrote(plan, 2, "canary", RoleCounts(14))
    wrote(plan, 1, "live", RoleCounts(90))
    store.change(MODEL, "rollback", "a test", **store.ONE_VERSION)
    roles = json.loads(_status(capsys, "--json"))["roles"]
    assert [(row["role"], row["version"], row["share"]) for row in roles] == [
        ("live", 1, "100 %"),
        ("canary", 2, "over"),
        ("warm", 2, ""),
    ]


def test_status_of_a_shadow_says_how_it_agrees(database_of_its_own: None, capsys: pytest.CaptureFixture[str]) -> None:
    plan = store.change(MODEL, "shadow", "a test", kind="shadow", second=2)
    wrote(plan, 2, "shadow", RoleCounts(14, compared=12, disagreed=3, agreement=9.75))
    assert "12 answers compared, mean agreement 0.812, 3 differ" in " ".join(_status(capsys).split())
    (row,) = [row for row in json.loads(_status(capsys, "--json"))["roles"] if row["role"] == "shadow"]
    assert (row["compared"], row["disagreed"], row["agreement"]) == (12, 3, 0.8125)


class Nobody:
    """A supervisor without services."""

    def services(self) -> dict[str, Any]:
        return {}

    def start(self, *_: Any, **__: Any) -> Any:
        raise AssertionError

    stop = start


def test_what_the_gate_refused_is_not_released_and_leaves_with_seven(
    database_of_its_own: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = Version(MODEL, 3, "", "d" * 64, (), 0.0)
    monkeypatch.setattr(release, "prepare", lambda **_: None)
    monkeypatch.setattr(Versions, "get", lambda self, model, which: refused)
    monkeypatch.setattr(packaging, "package", lambda *_: pytest.fail("nothing is packaged"))
    for arguments in (["3"], ["canary", "3"], ["ab", "1", "3"]):
        assert execute(["release", MODEL, *arguments]) == 7
        said = capsys.readouterr().err
        assert "the gate was never asked about version 3" in said
        assert "--anyway REASON" in said
    assert len(history.events(MODEL)) == 1


def test_a_run_that_ends_in_a_refusal_says_the_gates_reasons(
    config: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    version, decision = Version(MODEL, 3, "", "d" * 64, (), 0.0), {"granted": False, "summary": "3 refused: worse"}
    monkeypatch.setattr(loop, "prepare", lambda local: None)  # no stack is up
    monkeypatch.setattr(running, "run_flow", lambda *_, **__: f"{MODEL}@3 not promoted")
    monkeypatch.setattr(Versions, "get", lambda self, model, which: version if which == "3" else None)
    monkeypatch.setattr(deciding, "latest_decision", lambda asked: decision if asked is version else None)
    assert execute(["run", MODEL]) == 7
    assert "3 refused: worse" in capsys.readouterr().err
    decision["granted"] = True
    assert execute(["run", MODEL]) == 7
    assert "another version has become champion since" in capsys.readouterr().err


def test_decisions_of_one_version(config: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    folder = config.var / "decisions" / MODEL
    folder.mkdir(parents=True)
    for number in (1, 2):
        said = {"challenger": number, "created": f"2026-01-0{number}", "summary": f"about version {number}"}
        said["reasons"] = [{"rule": "metric floor", "passed": False, "found": f"Dice 0.{number}", "expected": "0.8"}]
        (folder / f"{number}.json").write_text(json.dumps(said))
    for arguments in ([f"{MODEL}@1"], [MODEL, "1"]):
        assert execute(["decisions", *arguments]) == 0
        said_of = capsys.readouterr().out
        assert "about version 1" in said_of
        assert "about version 2" not in said_of
        assert "✗ metric floor: Dice 0.1; expected 0.8" in said_of
    assert execute(["decisions", f"{MODEL}@1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["challenger"] == 1
    assert execute(["decisions", MODEL, "7"]) == 4
    assert execute(["decisions", MODEL, "champion"]) == 3


def test_a_plan_is_said_in_one_sentence() -> None:
    plan = Plan(MODEL, "shadow", 1, 2, since=NEVER)
    assert in_words(plan, warm=True) == "version 1 of skin_segmentation answers; version 2 gets copies"
    after = Plan(MODEL, "all", 2, previous=1)
    assert in_words(after, warm=True).endswith("gets every request; version 1 is kept warm")
    assert in_words(after, warm=False).endswith("gets every request")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_canary_under_the_supervisor_is_killed_promoted_and_rolled_back(
    stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    stack.config.apply_environment()
    with own_database(stack.config.var / "visionloop.db"):
        stack.up(["router", "guard"])
        tags = {}
        for number in (1, 2):
            bundle = make_tiny_bundle(tmp_path / f"bundle-{number}", f"version {number}")
            tags[number] = packaging.package(Numbered(MODEL, number), bundle)
        deploy.follow(deploy.roll_out(Numbered(MODEL, 1), tags[1], anyway="a test"))
        plan = Plan(MODEL, "canary", 1, 2, share=50)
        deploy.follow(deploy.begin(plan, Numbered(MODEL, 2), tags[2], anyway="a test"))

        def who() -> tuple[int, str]:
            address = f"{stack.config.router_address}/v1/models/{MODEL}/predict"
            answer = httpx.post(address, files={"file": ("scan.nii.gz", make_scan(1))}, timeout=60)
            return answer.status_code, answer.headers.get("X-Model-Version", "")

        until(lambda: who() == (200, "2"))
        (service,) = [one for one in stack.status() if one.name == packaging.process_name(tags[2])]
        os.kill(service.pid, signal.SIGKILL)
        assert {status for status, _ in (who() for _ in range(20))} == {200}
        until(lambda: who() == (200, "2"))  # the supervisor has restarted it
        assert execute(["release", MODEL, "status"]) == 0
        assert "canary" in capsys.readouterr().out

        assert execute(["release", MODEL, "promote", "--why", "a test"]) == 0
        assert {who() for _ in range(5)} == {(200, "2")}
        assert execute(["rollback", MODEL]) == 0  # MLflow is not up: the traffic goes back all the same
        assert until(lambda: who() == (200, "1"))
        said = capsys.readouterr()
        assert "version 1 of skin_segmentation gets every request; version 2 is kept warm" in said.out
        assert "the gate did not grant version 1 (a test)" in said.out
        assert history.events(MODEL)[1].why == "a test; anyway: a test"
        told = journal.path().read_text()  # the story page shows it
        assert "version 2 gets all the traffic" in told
        assert "rolled back: version 1 gets the traffic again, version 2 no longer" in told

        stack.stop("router")
        monkeypatch.setattr(deploy, "CONFIRM_S", 0.5)
        assert execute(["rollback", MODEL]) == 8
        said = capsys.readouterr()
        assert "the plan is changed, but the router at" in said.err
        assert "the registry's alias goes back once MLflow answers" in said.out  # it got that far
        plan = store.plan(MODEL)
        assert plan is not None
        assert (plan.live, plan.previous) == (2, 1)
