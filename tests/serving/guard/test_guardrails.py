"""The guardrails of a canary: what two versions' counts must show before it is rolled back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from serving.guard import guardrails
from serving.guard.guardrails import Guardrails
from serving.releases.plans import Kind, Limits, Plan
from serving.router.traffic import RoleCounts
from tests.bundles import MODEL
from tests.serving.counted import latencies, predicted, wrote
from tests.waiting import until

CANARY = Plan(MODEL, "canary", 1, 2, share=50, limits=Limits(), since=datetime.now(UTC), revision=5)

pytestmark = pytest.mark.usefixtures("database")


def _broken(plan: Plan, new: RoleCounts, old: RoleCounts) -> set[str]:
    """The guardrails that break with these counts of both versions."""
    for (role, version), counts in zip(plan.roles().items(), (old, new), strict=True):
        wrote(plan, version, role, counts)
    return {reason.rule for reason in Guardrails(plan).look() if not reason.passed}


@pytest.mark.parametrize(
    ("new", "broken"),
    [
        (RoleCounts(100, 0, latencies=latencies(*[10] * 100)), set()),
        (RoleCounts(100, 2, latencies=latencies(*[11] * 98)), set()),
        (RoleCounts(100, 30, latencies=latencies(*[10] * 70)), {"errors"}),
    ],
)
def test_errors_are_compared_with_the_live_versions(new: RoleCounts, broken: set[str]) -> None:
    assert _broken(CANARY, new, RoleCounts(100, 1, latencies=latencies(*[10] * 99))) == broken


@pytest.mark.parametrize(
    ("kind", "share", "new", "old", "broken"),
    [
        ("canary", 50, RoleCounts(100, refused=100), RoleCounts(200), {"refusals"}),
        ("canary", 10, RoleCounts(50, refused=10), RoleCounts(450), {"refusals"}),
        ("ab", 50, RoleCounts(100, refused=60), RoleCounts(100, refused=10), {"refusals"}),
        ("canary", 10, RoleCounts(50, refused=10), RoleCounts(450, refused=120), set()),
        ("canary", 50, RoleCounts(100, refused=1), RoleCounts(100), set()),
        ("canary", 80, RoleCounts(100, refused=100), RoleCounts(120), set()),
        ("canary", 10, RoleCounts(50, refused=10), RoleCounts(0), set()),
        ("canary", 50, RoleCounts(100, errors=20, refused=30), RoleCounts(100, refused=60), {"errors"}),
    ],
)
def test_refusals_are_compared_with_the_live_versions(
    kind: Kind, share: int, new: RoleCounts, old: RoleCounts, broken: set[str]
) -> None:
    """A version that is too slow for its share breaks the guardrail, and not one that only shares an overload."""
    assert _broken(replace(CANARY, kind=kind, share=share), new, old) == broken


def test_disagreement_is_read_from_the_shadow_of_the_same_version() -> None:
    wrote(CANARY, 2, "shadow", RoleCounts(60, compared=60, disagreed=40, agreement=25.0))
    reasons = {reason.rule: reason for reason in Guardrails(CANARY).look()}
    assert not reasons["disagreement"].passed
    assert "40 of 60 answers differ" in reasons["disagreement"].found
    assert Guardrails(replace(CANARY, limits=Limits(disagreement=0.8))).look()[-1].passed


@pytest.mark.parametrize(("shift", "passes"), [(0.0, True), (0.5, False)])
def test_predictions_are_compared_with_the_live_versions(shift: float, passes: bool) -> None:
    for version, role, by in ((1, "live", 0.0), (2, "canary", shift)):
        for n in range(40):
            predicted(f"{version}-{n}", version, role, confidence=0.3 + by + 0.001 * (n * 7 % 40))
        wrote(CANARY, version, role, RoleCounts(40, latencies=latencies(*[10] * 40)))
    (said,) = [reason for reason in Guardrails(CANARY).look() if reason.rule == "predictions"]
    assert said.passed == passes
    assert "confidence" in said.found


def test_a_version_that_stays_silent_breaks_a_guardrail(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Guardrails(CANARY)
    assert all(reason.passed for reason in found.look())
    monkeypatch.setattr(guardrails, "SILENT_S", 0.1)
    until(lambda: [reason.rule for reason in found.look() if not reason.passed] == ["answers"])
