"""The rail of refusals: a version that is too slow for its share, and one that only shares an overload."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from serving.guard.guardrails import Guardrails
from serving.releases.plans import Kind, Plan
from serving.router.traffic import RoleCounts
from tests.bundles import MODEL
from tests.serving.counted import wrote

CANARY = Plan(MODEL, "canary", 1, 2, share=50, revision=5 * 10**6)


def _broken(plan: Plan, new: RoleCounts, old: RoleCounts) -> set[str]:
    """The rails that break with these counts of both versions."""
    plan = replace(
        plan, since=datetime.now(UTC), revision=plan.revision + hash((plan.share, str(new), str(old))) % 10**6
    )
    for (role, version), counts in zip(plan.roles().items(), (old, new), strict=True):
        wrote(plan, version, role, counts)
    return {reason.rule for reason in Guardrails(plan).look() if not reason.passed}


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
    project: Path, kind: Kind, share: int, new: RoleCounts, old: RoleCounts, broken: set[str]
) -> None:
    assert _broken(replace(CANARY, kind=kind, share=share), new, old) == broken
