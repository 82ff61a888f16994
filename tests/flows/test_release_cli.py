"""`visionloop release`: what it refuses and how it says so, and the status of a plan."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.cli import _run
from flows.stack.control import Stack
from registry.settings import Settings
from serving import deploy, packaging, releases
from serving.plans import NEVER, Plan, in_words
from serving.traffic import Counts
from tests.bundles import MODEL, make_scan, make_tiny_bundle
from tests.databases import own_database
from tests.serving.counted import latencies, wrote


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["canary", "2", "--share", "0"], 3, "the share is 0 %"),
        (["canary", "2", "--share", "100"], 3, "the share is 100 %"),
        (["ab", "1", "2", "--share", "-5"], 3, "the share is -5 %"),
        (["ab", "2"], 3, "the versions are 2"),
        (["canary"], 3, "the versions are not named"),
        (["promote", "3"], 3, "the versions are 3"),
        (["shadow", "2", "--share", "10"], 3, "--share means nothing here"),
        (["3", "--share", "10"], 3, "--share means nothing here"),
        (["rollback", "--steps", "10"], 3, "--steps means nothing here"),
        (["canary", "2", "--steps", "50,10"], 3, "the steps are 50, 10"),
        (["canary", "2", "--steps", "few"], 3, "the steps are 'few'"),
        (["canary", "2", "--limit", "speed=2"], 3, "no limit 'speed'"),
        (["canary", "2", "--limit", "drift"], 3, "the limit is 'drift'"),
        (["canary", "2", "--limit", "drift=high"], 3, "the limit drift is 'high'"),
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
        assert _run(["release", MODEL, *arguments]) == code
    said = capsys.readouterr().err
    assert says in said
    assert "to mend it" in said
    assert "Traceback" not in said


def test_status_shows_shares_calls_errors_and_latencies_by_role(
    config: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with own_database(tmp_path / "own.db"):
        for version in (1, 2):
            releases.announce(MODEL, version, f"http://127.0.0.1:{4000 + version}", f"{MODEL}:{version}-x", None)
        releases.switch(MODEL, 1, "a test")
        plan = releases.change(
            MODEL, "canary", "a test", "a try", plan="canary", challenger=2, share=10, steps=[10, 50, 100]
        )
        slow = latencies(*[250.0] * 12)
        wrote(plan, 2, "canary", Counts(14, 2, 1, latencies=slow))
        assert _run(["release", MODEL, "status"]) == 0
    said = capsys.readouterr().out
    assert "version 2 of skin_segmentation gets 10 % of the requests, then 50 %, 100 %" in " ".join(said.split())
    row = next(line for line in said.splitlines() if "127.0.0.1:4002" in line)
    for part in ("canary", "2", "10 %", "14", f"{slow.quantile(0.5):.1f}"):
        assert part in row
    assert "90 %" in next(line for line in said.splitlines() if "127.0.0.1:4001" in line)
    assert "version 2 as canary: 1 answered by the other version" in " ".join(said.split())
    assert "a try" in said
    assert max(len(line) for line in said.splitlines()) <= 80


def test_a_plan_is_said_in_one_sentence() -> None:
    plan = Plan(MODEL, "shadow", 1, 2, since=NEVER)
    assert in_words(plan, warm=True) == "version 1 of skin_segmentation answers; version 2 gets copies"
    after = Plan(MODEL, "blue_green", 2, previous=1)
    assert in_words(after, warm=True).endswith("gets every request; version 1 is kept warm")
    assert in_words(after, warm=False).endswith("gets every request")


@dataclass(frozen=True)
class Numbered:
    """As much of a registered version as packaging and releasing need."""

    model: str
    number: int


def _until(what: Callable[[], Any], within_s: float = 120.0) -> Any:
    end = time.monotonic() + within_s
    while not (found := what()):
        assert time.monotonic() < end, f"not within {within_s} s"
        time.sleep(0.2)
    return found


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

        _until(lambda: who() == (200, "2"))
        (service,) = [one for one in stack.status() if one.name == packaging.process_name(tags[2])]
        os.kill(service.pid, signal.SIGKILL)
        assert {status for status, _ in (who() for _ in range(20))} == {200}
        _until(lambda: who() == (200, "2"))  # the supervisor has restarted it
        assert _run(["release", MODEL, "status"]) == 0
        assert "canary" in capsys.readouterr().out

        assert _run(["release", MODEL, "promote", "--why", "a test"]) == 0
        assert {who() for _ in range(5)} == {(200, "2")}
        assert _run(["rollback", MODEL]) == 0  # MLflow is not up: the traffic goes back all the same
        assert _until(lambda: who() == (200, "1"))
        said = capsys.readouterr()
        assert "version 1 of skin_segmentation gets every request; version 2 is kept warm" in said.out
        assert releases.events(MODEL)[1].why == "a test"

        stack.stop("router")
        monkeypatch.setattr(deploy, "CONFIRM_S", 0.5)
        assert _run(["rollback", MODEL]) == 8
        said = capsys.readouterr()
        assert "the plan is changed, but the router at" in said.err
        assert "alias stays as it was" in said.err  # it got that far
        plan = releases.plan(MODEL)
        assert plan is not None
        assert (plan.champion, plan.previous) == (2, 1)
