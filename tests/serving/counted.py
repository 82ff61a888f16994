"""Plans that were never made, and what routers and services would have counted and logged for them."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

from serving.releases.plans import Limits, Plan
from serving.router.traffic import Latencies, RoleCounts, TrafficCounter, TrafficKey
from tests.bundles import MODEL

_revisions = itertools.count(2 * 10**6)


def canary_plan() -> Plan:
    """Half of the requests, version 2 beside version 1, since now; each call gives one of its own."""
    return Plan(MODEL, "canary", 1, 2, share=50, limits=Limits(), since=datetime.now(UTC), revision=next(_revisions))


def wrote(plan: Plan, version: int, role: str, counts: RoleCounts) -> None:
    """One more router counted this, in this minute."""
    minute = datetime.now(UTC).replace(second=0, microsecond=0)
    TrafficCounter().write({TrafficKey(MODEL, version, role, plan.revision, minute): counts})


def latencies(*ms: float) -> Latencies:
    found = Latencies()
    for one in ms:
        found.add(one)
    return found


def predicted(identity: str, version: int, role: str, **statistics: float) -> Any:
    """A row of the prediction log."""
    from monitoring.log.models import Prediction

    return Prediction.objects.create(
        id=identity,
        time=datetime.now(UTC),
        model=MODEL,
        version=version,
        role=role,
        latency_ms=1,
        outcome="ok",
        status=200,
        prediction_statistics=statistics,
    )
