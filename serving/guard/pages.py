"""Decision pages of releases: why a version took over, was rolled back, or won a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from registry.contract import catalog
from registry.core.errors import VisionloopError
from registry.versions.bundle import open_bundle
from registry.versions.decision import Decision, Reason
from serving.releases import endpoints, grants
from serving.releases.bento_files import BUNDLE
from serving.releases.packaging import bento_folder
from serving.releases.plans import Plan
from serving.router import traffic


@dataclass(frozen=True)
class RoleRow:
    """What one version did in one role. Latencies are milliseconds; None where nothing was answered."""

    role: str
    version: int
    calls: int
    errors: int
    p50_ms: float | None
    p95_ms: float | None


@dataclass(frozen=True)
class ReleaseDecision(Decision):
    """A decision about traffic, not about the registry's champion. It shows the gate's answer too."""

    sentence: str = ""
    word: str = ""
    roles: tuple[RoleRow, ...] = ()

    kind: ClassVar[str] = "release"

    @property
    def summary(self) -> str:
        return self.sentence

    @property
    def verdict(self) -> str:
        return self.word

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "word": self.word, "roles": [row.__dict__ for row in self.roles]}

    @property
    def place(self) -> str:
        """Where `save` writes the page, relative to var."""
        return f"decisions/{self.model}/{self.id}.html"

    @classmethod
    def of_json(cls, page: Mapping[str, Any]) -> ReleaseDecision:
        """The decision that `to_json` gave."""
        names = (
            "id",
            "created",
            "model",
            "challenger",
            "champion",
            "granted",
            "asked_by",
            "why",
            "metric",
            "data_hash",
        )
        return cls(
            **{name: page[name] for name in names},
            reasons=tuple(Reason(**reason) for reason in page["reasons"]),
            sentence=page["summary"],
            word=page["word"],
            roles=tuple(RoleRow(**row) for row in page["roles"]),
        )


def page_of(
    plan: Plan, reasons: list[Reason], *, granted: bool, verdict: str, summary: str, who: str
) -> ReleaseDecision:
    """The decision about a plan's second version, with the counts of this step."""
    counts = traffic.read(plan.model, since=plan.since, revision=plan.revision)
    rows = [
        RoleRow(role, version, c.calls, c.errors, *(c.latencies.known_quantile(q) for q in (0.5, 0.95)))
        for (version, role), c in sorted(counts.items(), key=lambda one: one[0][1] not in ("live", "a"))
    ]
    at = f" at {plan.share} %" if plan.share else ""
    live, second = plan.both()
    return ReleaseDecision(
        model=plan.model,
        challenger=second,
        champion=live,
        granted=granted,
        asked_by=who,
        why=f"{plan.kind}{at} since {plan.since:%Y-%m-%d %H:%M:%S} UTC",
        metric=catalog.get(plan.model).metric.title,
        data_hash=_data_hash(plan),
        reasons=(*reasons, *_gate(plan)),
        sentence=summary,
        word=verdict,
        roles=tuple(rows),
    )


def _gate(plan: Plan) -> list[Reason]:
    """Why the second version may have callers; a shadow has none."""
    service = endpoints.announced(plan.model).get((plan.model, plan.both()[1]))
    if plan.kind == "shadow" or service is None:
        return []
    reason = grants.ungranted_reason(service)
    found = f"released anyway: {reason}" if reason else "granted"
    return [Reason("the gate's word", not reason, found, "a version that the gate granted")]


def _data_hash(plan: Plan) -> str:
    """The hash of the second version's training data; unknown where its Bento is not on this machine."""
    endpoint = endpoints.announced(plan.model).get((plan.model, plan.both()[1]))
    try:
        found = open_bundle(bento_folder(endpoint.tag) / "src" / BUNDLE, verify=False) if endpoint else None
    except VisionloopError:
        found = None
    return found.manifest.data_hash if found else "unknown"
