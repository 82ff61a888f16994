"""What the page of a model shows: its release plan, its versions, and who gets the requests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from registry.contract import catalog
from registry.core.errors import MissingService
from serving.operations import documents, mlflow_api
from serving.operations.documents import Document
from serving.operations.mlflow_api import RegisteredVersion
from serving.releases import endpoints, grants, history, orders, store
from serving.releases.endpoints import Endpoint
from serving.releases.plans import Plan
from serving.router import traffic
from serving.translation import errors

LAST = timedelta(hours=1)


@dataclass(frozen=True)
class VersionRow:
    """A version. `role`: in the release plan, "warm" for a previous one that still runs, else ""."""

    number: int
    role: str
    registered: RegisteredVersion | None
    decision: Document | None
    service: Endpoint | None

    @property
    def granted(self) -> bool:
        return bool(self.decision and self.decision.good)

    @property
    def anyway(self) -> str:
        """Why it gets requests without the gate's grant."""
        return grants.ungranted_reason(self.service) if self.service and self.role else ""


@dataclass(frozen=True)
class RoleRow:
    """What one version in one role did in the last hour, or in this step of a release. Latencies in milliseconds."""

    role: str
    version: int
    calls: int
    errors: int
    p50_ms: float | None
    p95_ms: float | None
    agreement: float | None


@dataclass(frozen=True)
class ModelFacts:
    """`away`: why the registry's versions are missing, "" where they are there."""

    plan: Plan | None
    order: Any
    versions: list[VersionRow]
    roles: list[RoleRow]
    guardrails: list[dict[str, Any]]
    events: list[Any]
    away: str

    def version(self, number: int | None) -> VersionRow | None:
        return next((one for one in self.versions if one.number == number), None)


def gather(model: str) -> ModelFacts:
    """Asks database, decision pages and MLflow."""
    plan, registered, away = store.plan(model), [], ""
    try:
        registered = mlflow_api.versions(model)
    except MissingService as error:
        away = errors.in_words(error)
    return ModelFacts(
        plan,
        orders.open_order(model),
        _versions(model, plan, registered),
        _roles(plan) if plan else [],
        store.guardrails(plan) if plan and plan.second else [],
        history.events(model, 12),
        away,
    )


@dataclass(frozen=True)
class ModelVersion:
    """A version with its model. `away`: why what the registry says of it is missing, "" where it is there."""

    model: str
    version: VersionRow
    away: str


def all_versions() -> list[ModelVersion]:
    """The versions of all models, each model's newest first. Where MLflow is away it is asked once only."""
    found, away = [], ""
    for model in catalog.names():
        registered: list[RegisteredVersion] = []
        try:
            registered = [] if away else mlflow_api.versions(model)
        except MissingService as error:
            away = errors.in_words(error)
        found += [ModelVersion(model, row, away) for row in _versions(model, store.plan(model), registered)]
    return found


def _versions(model: str, plan: Plan | None, registered: list[RegisteredVersion]) -> list[VersionRow]:
    """Those that the registry, a decision page or a service knows."""
    decisions = documents.by_version(model)
    services = {number: one for (_, number), one in endpoints.announced(model, retired=True).items()}
    known = {one.number: one for one in registered}
    roles: dict[int, str] = {number: role for role, number in plan.roles().items()} if plan else {}
    if plan and plan.previous and not services.get(plan.previous, _NONE).retired:
        roles.setdefault(plan.previous, "warm")
    numbers = sorted({*decisions, *services, *known}, reverse=True)
    return [VersionRow(n, roles.get(n, ""), known.get(n), decisions.get(n), services.get(n)) for n in numbers]


_NONE = Endpoint("", 0, "", "", retired=True)


def _roles(plan: Plan) -> list[RoleRow]:
    since = datetime.now(UTC) - LAST if plan.second is None else plan.since
    counted = traffic.read(plan.model, since=since, revision=None if plan.second is None else plan.revision)
    rows = []
    for role, version in plan.roles().items():
        counts = counted.get((version, role), traffic.RoleCounts())
        agreement = counts.agreement / counts.compared if counts.compared else None
        p50, p95 = (counts.latencies.known_quantile(share, 1) for share in (0.5, 0.95))
        rows.append(RoleRow(role, version, counts.calls, counts.errors, p50, p95, agreement))
    return rows
