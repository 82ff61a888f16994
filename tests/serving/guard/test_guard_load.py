"""The guard's load does not grow with what was counted and labelled, and one model's trouble is not another's."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from registry.core.settings import settings
from serving.guard import ab_test
from serving.guard.ab_test import AbTest
from serving.guard.guardrails import Guardrails
from serving.releases.plans import Limits, Plan
from serving.router import traffic
from serving.router.traffic import RoleCounts, TrafficCounter, TrafficKey
from tests.bundles import MODEL
from tests.conftest import PROJECT
from tests.serving.counted import latencies

NOW = datetime.now(UTC).replace(second=0, microsecond=0)
CANARY = Plan(MODEL, "canary", 1, 2, share=50, limits=Limits(), since=NOW - timedelta(minutes=30), revision=3)
OTHER = "weapon_detection"

pytestmark = pytest.mark.usefixtures("database")


def _wrote(plan: Plan, role: str, minutes: range, router: TrafficCounter | None = None) -> None:
    version = plan.live if role == "live" else plan.both()[1]
    one = RoleCounts(3, 1, compared=2, disagreed=1, agreement=1.5, latencies=latencies(10, 20, 30))
    keys = [TrafficKey(plan.model, version, role, plan.revision, NOW - timedelta(minutes=ago)) for ago in minutes]
    (router or TrafficCounter()).write(dict.fromkeys(keys, one))


def test_counts_of_a_step_are_those_of_all_its_rows_and_what_is_over_is_read_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for role in ("live", "canary"):
        _wrote(CANARY, role, range(30))
    read: list[object] = []
    count = traffic.counts_of
    monkeypatch.setattr(traffic, "counts_of", lambda row: read.append(row) or count(row))
    step = traffic.StepCounts(CANARY)
    assert step.read() == traffic.read(MODEL, since=CANARY.since, revision=CANARY.revision)
    read.clear()
    assert step.read()[2, "canary"].calls == 90
    assert len(read) <= 2 * 4

    _wrote(CANARY, "canary", range(20, 22))  # of another router, which could not reach the database
    monkeypatch.setattr(traffic, "CHECKED_EVERY_S", 0.0)
    assert step.read() == traffic.read(MODEL, since=CANARY.since, revision=CANARY.revision)


def test_pairs_of_a_shadow_are_added_up_by_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    shadow = replace(CANARY, kind="shadow", share=0, revision=2)
    _wrote(shadow, "shadow", range(60, 400))
    _wrote(shadow, "live", range(60, 400))
    read: list[object] = []
    monkeypatch.setattr(traffic, "counts_of", read.append)
    reasons = {reason.rule: reason for reason in Guardrails(CANARY).look()}
    assert "340 of 680 answers differ, mean agreement 0.750" in reasons["disagreement"].found
    assert not read


def test_labels_that_a_report_asked_for_do_not_count_in_a_comparison() -> None:
    """A report names the worst predictions of one version: b would lose by the choice of its labels alone."""
    from monitoring.log.models import Feedback, Prediction

    plan = Plan(MODEL, "ab", 1, 2, share=50, since=NOW - timedelta(minutes=1), revision=5)
    for role, version in (("a", 1), ("b", 2)):
        for n in range(80):
            asked_for = role == "b" and n >= 40
            row = Prediction.objects.create(
                id=f"{role}{n:02}",
                time=NOW,
                model=MODEL,
                version=version,
                role=role,
                latency_ms=1,
                outcome="ok",
                status=200,
            )
            score = 0.0 if asked_for else float(n % 10 < 8)
            Feedback.objects.create(prediction=row, time=NOW, score=score, suggested=asked_for)
    found = ab_test.result(plan)
    assert (found.pairs, found.a, found.b) == (40, 0.8, 0.8)
    assert len(ab_test.scores_of(plan, "b")) == 40
    assert not found.over


def test_a_comparison_is_computed_anew_only_where_scores_came(monkeypatch: pytest.MonkeyPatch) -> None:
    from monitoring.log.models import Feedback, Prediction

    plan = Plan(MODEL, "ab", 1, 2, share=50, since=NOW - timedelta(minutes=1), revision=5)
    computed: list[int] = []
    result = ab_test.result
    monkeypatch.setattr(ab_test, "result", lambda plan: computed.append(1) or result(plan))

    def score(n: int, role: str, value: float) -> None:
        fields = {"model": MODEL, "version": plan.roles()[role], "role": role}  # type: ignore[index]
        row = Prediction.objects.create(
            id=f"{role}-{n}", time=datetime.now(UTC), latency_ms=1, outcome="ok", status=200, **fields
        )
        Feedback.objects.create(prediction=row, time=datetime.now(UTC), score=value)

    looked = AbTest()
    for n in range(3):
        score(n, "a", 0.2)
        score(n, "b", 0.9)
        for _ in range(4):
            assert looked.look(plan) is None
    assert len(computed) == 3


def test_labels_that_cannot_be_scored_keep_nobody_elses_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """serving.md 5.12: after a live version without its Bento nothing else was ever scored."""
    started: list[tuple[str, str]] = []

    class Scoring:
        def __init__(self, command: list[str], **_: Any) -> None:
            model, version = command[-2:]
            started.append((model, version))
            self.returncode = 4 if (model, version) == (MODEL, "1") else 0

        def poll(self) -> int:
            return self.returncode

    monkeypatch.setattr(ab_test.subprocess, "Popen", Scoring)
    monkeypatch.setattr(ab_test, "SCORE_EVERY_S", 0.0)
    monkeypatch.setattr(ab_test, "unscored", lambda model, version: True)
    looked = AbTest()
    for _ in range(8):
        for model in (MODEL, OTHER):
            looked.look(Plan(model, "ab", 1, 2, share=50, since=NOW, revision=5))
    assert started.count((MODEL, "1")) == 1, "again after a while"
    for one in ((MODEL, "2"), (OTHER, "1"), (OTHER, "2")):
        assert started.count(one) > 1


LOOKING = """
import re
from datetime import UTC, datetime, timedelta
from registry.core import database
database.setup(); database.migrate()
import flows.orchestration.guard  # all that the guard's process has loaded
from monitoring.log.models import Prediction
from serving.releases import endpoints, store as releases
from serving.guard.rollout import Guard
from serving.router.traffic import Latencies, RoleCounts, TrafficCounter, TrafficKey

class Nobody:
    def services(self): return {}
    def start(self, *_, **__): raise AssertionError
    stop = start

MODEL = "skin_segmentation"
for version in (1, 2):
    endpoints.announce(MODEL, version, "http://127.0.0.1:9", f"{MODEL}:{version}")
releases.switch(MODEL, 1)
limits = {"min_seconds": 10**6, "latency_ratio": 100}
plan = releases.change(MODEL, "canary", kind="canary", second=2, share=50, limits=limits)
now, router = datetime.now(UTC), TrafficCounter()
guard = Guard(Nobody(), router="")
guard.controller.look = lambda: None  # nothing runs here
for version, role in ((1, "live"), (2, "canary")):
    Prediction.objects.bulk_create(
        Prediction(id=f"{version}-{n}", time=now + timedelta(seconds=1), model=MODEL, version=version, role=role,
                   latency_ms=1, outcome="ok", status=200,
                   # differ beyond chance, and not so far that the guardrail breaks
                   prediction_statistics={f"s{k}": (n * 7919 % 1000) / 1000 + 0.3 * (version - 1) for k in range(10)})
        for n in range(400))
for calls in (40, 60, 600, 6000, 13300):
    found = Latencies()
    for ms in range(calls):
        found.add(5 + ms % 50)
    for version, role in ((1, "live"), (2, "canary")):
        key = TrafficKey(MODEL, version, role, plan.revision, now.replace(second=0, microsecond=0))
        agreed = {"compared": calls, "disagreed": calls // 10, "agreement": calls * 0.9}
        router.write({key: RoleCounts(calls, 0, latencies=found, **agreed)})
    guard.look()
guardrails = {guardrail["rule"]: guardrail["found"] for guardrail in releases.guardrails(plan)}
assert "of 20000 calls" in guardrails["errors"] and "predictions" in guardrails, guardrails
# Not ru_maxrss, which the process has from the one that started it.
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_guard_stays_small_at_twenty_thousand_calls(tmp_path: Path) -> None:
    """flows.md 5.12: its permutation test dealt all rounds at once, with 2.3 GB at so many calls."""
    environment = {
        **settings().child_environment(),
        "VISIONLOOP_VAR": str(tmp_path / "var"),
        "VISIONLOOP_DATABASE_URL": f"sqlite:///{tmp_path / 'guard.db'}",
        "PYTHONPATH": str(PROJECT),
        "DJANGO_ALLOW_ASYNC_UNSAFE": "true",
    }
    done = subprocess.run(
        [sys.executable, "-c", LOOKING], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 150, f"{done.stdout.strip()} MiB"
