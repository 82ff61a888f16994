"""The status of a release: the plan, the counts of its versions, the guard's progress, and the history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from flows import champions
from serving.guard import ab_test
from serving.releases import endpoints, grants, history, orders, store
from serving.releases.plans import Plan
from serving.router import traffic

if TYPE_CHECKING:
    from serving.releases.models import ReleaseEvent

LAST_H = 1
EVENTS = 8
KINDS = {"all": "one version", "ab": "A/B"}


def gather(plan: Plan) -> dict[str, Any]:
    """The status, ready for JSON. Times are UTC, latencies milliseconds."""
    champion = (champions.champions() or {}).get(plan.model)
    return {
        "model": plan.model,
        "kind": KINDS.get(plan.kind, plan.kind),
        "state": plan.state,
        "summary": store.in_words(plan),
        "why": plan.why,
        "revision": plan.revision,
        "since": plan.since.isoformat(),
        "live": plan.live,
        "second": plan.second,
        "previous": plan.previous,
        "share": plan.share,
        "registry_champion": champion,
        "notes": _notes(plan, champion),
        "roles": _counted(plan),
        "guard": _progress(plan) if plan.second is not None else None,
        "comparison": ab_test.result(plan).to_json() if plan.kind == "ab" else None,
        "history": _history(plan.model),
    }


def _history(model: str) -> list[dict[str, Any]]:
    """The latest changes, the newest first. `from`: the version that lost its requests."""
    events = history.events(model, EVENTS + 1)
    return [
        {
            "time": event.time.isoformat(timespec="seconds"),
            "what": event.what,
            "from": _left(event, before),
            "live": event.live,
            "second": event.second,
            "share": event.share,
            "who": event.who,
            "why": event.why,
            "page": event.page,
        }
        for event, before in zip(events, [*events[1:], None], strict=True)
    ][:EVENTS]


def _left(event: ReleaseEvent, before: ReleaseEvent | None) -> int | None:
    """The version that lost its requests by a change; `before`: the change before it."""
    if before is None:
        return None
    if event.live != before.live:
        return before.live
    return before.second if event.second is None else None


def _notes(plan: Plan, champion: int | None) -> list[str]:
    """Notes for the operator about what the tables do not show."""
    found = []
    if champion is not None and champion != plan.live:
        found.append(
            f"version {plan.live} has the traffic, version {champion} is the registry's champion; "
            f"`visionloop release {plan.model} champion` gives it the traffic"
        )
    services = endpoints.announced(plan.model, retired=True)
    for version in (plan.live, plan.second if plan.kind != "shadow" else None):
        service = services.get((plan.model, version or 0))
        if service is None:
            continue
        if without := grants.ungranted_reason(service):
            found.append(f"version {version} has traffic without the gate's word: {without}")
        if service.problem:
            found.append(f"version {version} could not be started: {service.problem.splitlines()[0]}")
    order = orders.open_order(plan.model)
    if order is not None:
        found.append(
            f"under way: {order.what} of version {order.version} by {order.who} since {order.time:%H:%M:%S} UTC "
            f"({order.state})"
        )
    return found


def _counted(plan: Plan) -> list[dict[str, Any]]:
    """The counts of requests by role; roles that are over come last."""
    # With two versions the counts are the step's; with one there are no steps.
    if plan.second is None:
        counted = traffic.read(plan.model, since=datetime.now(UTC) - timedelta(hours=LAST_H))
    else:
        counted = traffic.read(plan.model, since=plan.since, revision=plan.revision)
    services, now = endpoints.announced(plan.model), {(v, role): role for role, v in plan.roles().items()}
    shares = {"shadow": "copies", "canary": f"{plan.share} %", "b": f"{plan.share} %"}
    rest = f"{100 - plan.share} %"
    rows = []
    for version, role in sorted({*now, *counted}, key=lambda one: (one not in now, one[1] not in ("live", "a"), one)):
        counts, service = counted.get((version, role), traffic.RoleCounts()), services.get((plan.model, version))
        rows.append(
            {
                "role": role,
                "version": version,
                "share": shares.get(role, rest) if (version, role) in now else "over",
                "service": service.url.removeprefix("http://") if service else "stopped",
                "calls": counts.calls,
                "errors": counts.errors,
                "p50_ms": counts.latencies.known_quantile(0.5, 2),
                "p95_ms": counts.latencies.known_quantile(0.95, 2),
                "refused": counts.refused,
                "retried": counts.retried,
                "dropped": counts.dropped,
                "compared": counts.compared,
                "disagreed": counts.disagreed,
                "agreement": round(counts.agreement / counts.compared, 4) if counts.compared else None,
            }
        )
    warm = services.get((plan.model, plan.previous or 0))
    if warm is not None and warm.version not in plan.roles().values():
        rows.append({"role": "warm", "version": warm.version, "share": "", "service": warm.url.removeprefix("http://")})
    return rows


def _progress(plan: Plan) -> dict[str, Any]:
    """The guard's progress in the plan's step."""
    counts = traffic.read(plan.model, since=plan.since, revision=plan.revision)
    _, (role, second) = plan.roles().items()
    return {
        "calls": counts.get((second, role), traffic.RoleCounts()).calls,
        "min_calls": plan.limits.min_calls,
        "seconds": round((datetime.now(UTC) - plan.since).total_seconds()),
        "min_seconds": plan.limits.min_seconds,
        "next_share": plan.next_step,
        "guardrails": store.guardrails(plan),
    }
