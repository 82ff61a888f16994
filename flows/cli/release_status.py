"""`visionloop release MODEL status`: the plan, the counts of its versions, the guard's progress, and the history."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows import champions
from registry.core import database
from registry.core.errors import NotFound
from serving.guard import ab_test
from serving.releases import endpoints, grants, history, orders, store
from serving.router import traffic

if TYPE_CHECKING:
    from serving.releases.plans import Plan

LAST_H = 1
EVENTS = 8
KINDS = {"all": "one version", "ab": "A/B"}


def show(model: str, as_json: bool = False) -> None:
    """Prints the status. Raises NotFound where the model was never released."""
    database.migrate()
    plan = store.plan(model)
    if plan is None:
        raise NotFound(
            f"no version of {model} is released",
            expected="a release plan",
            fix=f"`visionloop release {model} VERSION` releases one",
        )
    found = gather(plan)
    if as_json:
        click.echo(json.dumps(found, indent=2, default=str))
        return
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 120)  # lines in a pipe are not cut
    console.print(f"[bold]{found['kind']}[/], {plan.state.replace('_', ' ')}: {escape(found['summary'])}")
    if plan.why:
        console.print(f"[dim]{escape(plan.why)}[/]")
    for note in found["notes"]:
        console.print(f"[yellow]{escape(note)}[/]", highlight=False)
    console.print(_roles(plan, found["roles"]))
    for line in _guard(found["guard"]) + _comparison(found["comparison"]):
        console.print(escape(line), highlight=False)
    console.print(_history(found["history"]))


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
        "before": plan.previous,
        "share": plan.share,
        "registry_champion": champion,
        "notes": _notes(plan, champion),
        "roles": _counted(plan),
        "guard": _progress(plan) if plan.second is not None else None,
        "comparison": ab_test.result(plan).to_json() if plan.kind == "ab" else None,
        "history": [
            {
                "time": event.time.isoformat(timespec="seconds"),
                "what": event.what,
                "live": event.live,
                "second": event.second,
                "share": event.share,
                "who": event.who,
                "why": event.why,
                "page": event.page,
            }
            for event in history.events(plan.model, EVENTS)
        ],
    }


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
    for version, role in sorted(
        {*now, *counted}, key=lambda one: (one not in now, one[1] not in ("champion", "a"), one)
    ):
        counts, service = counted.get((version, role), traffic.RoleCounts()), services.get((plan.model, version))
        rows.append(
            {
                "role": role,
                "version": version,
                "share": shares.get(role, rest) if (version, role) in now else "over",
                "service": service.url.removeprefix("http://") if service else "stopped",
                "calls": counts.calls,
                "errors": counts.errors,
                "p50_ms": _known(counts.latencies.quantile(0.5)),
                "p95_ms": _known(counts.latencies.quantile(0.95)),
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
        "rails": store.rails(plan),
    }


def _guard(progress: dict[str, Any] | None) -> list[str]:
    if progress is None:
        return []
    lines = []
    if progress["next_share"] is not None:
        lines.append(
            f"the guard: {progress['calls']:,} of {progress['min_calls']:,} calls and {progress['seconds']:,} of "
            f"{progress['min_seconds']:,.0f} s until {progress['next_share']} %, while every rail holds"
        )
    rails = progress["rails"]
    lines += [f"  {'holds ' if one['passed'] else 'BROKEN'} {one['rule']}: {one['found']}" for one in rails]
    return lines if rails else [*lines, "  no guard has looked at this step yet: `visionloop status`"]


def _comparison(test: dict[str, Any] | None) -> list[str]:
    if test is None:
        return []
    return [
        f"sequential test: evidence {test['evidence']:.3g} after {test['pairs']} labelled pairs "
        f"({1 / test['alpha']:g} decides, at most {test['most']}), b - a in [{test['low']:+.2f}, {test['high']:+.2f}]"
    ]


def _roles(plan: Plan, rows: list[dict[str, Any]]) -> Table:
    table = _table(
        f"{plan.model}, " + (f"last {LAST_H} h" if plan.second is None else f"since {plan.since:%H:%M:%S} UTC")
    )
    for name in ("role", "version", "share", "service"):
        table.add_column(name, no_wrap=True)
    for name in ("calls", "errors", "p50 ms", "p95 ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        head = (row["role"], str(row["version"]), row["share"], row["service"])
        if "calls" in row:
            ms = (f"{row[name]:.1f}" if row[name] is not None else "" for name in ("p50_ms", "p95_ms"))
            table.add_row(*head, f"{row['calls']:,}", f"{row['errors']:,}", *ms)
        else:
            table.add_row(*head)
    table.caption = "\n".join(filter(None, map(_also, rows))) or None
    return table


def _also(row: dict[str, Any]) -> str:
    """The rarer counts of a role, in words."""
    words = (("refused", "refused (429)"), ("retried", "answered by the other version"), ("dropped", "copies dropped"))
    found = [f"{row[name]:,} {what}" for name, what in words if row.get(name)]
    if row.get("compared"):
        found.append(
            f"{row['compared']:,} answers compared, mean agreement {row['agreement']:.3f}, {row['disagreed']:,} differ"
        )
    return f"version {row['version']} as {row['role']}: {', '.join(found)}" if found else ""


def _history(events: list[dict[str, Any]]) -> Table:
    table = _table("changes, the latest first")
    for name in ("when (UTC)", "what", "live", "second", "who"):
        table.add_column(name, no_wrap=True)
    table.add_column("why")
    for event in events:
        second = f"{event['second']} at {event['share']} %" if event["share"] else str(event["second"] or "")
        when = f"{datetime.fromisoformat(event['time']):%m-%d %H:%M:%S}"
        table.add_row(when, event["what"], str(event["live"]), second, escape(event["who"]), escape(event["why"]))
    return table


def _table(title: str) -> Table:
    """An empty table that fits a terminal of 80 columns."""
    return Table(
        title=title,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 2)
