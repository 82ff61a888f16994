"""`visionloop release MODEL status`: the plan, what its versions do, and what was changed."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from registry import database
from registry.errors import NotFound
from serving import comparison, releases, traffic

if TYPE_CHECKING:
    from serving.plans import Plan

LAST_H = 1
EVENTS = 8


def show(model: str, as_json: bool = False) -> None:
    """Prints it. Raises NotFound when the model was never released."""
    console = Console()
    database.setup()
    database.migrate()
    plan = releases.plan(model)
    if plan is None:
        raise NotFound(
            f"no version of {model} is released",
            expected="a release plan",
            mend=f"`visionloop release {model} VERSION` releases one",
        )
    console.print(
        f"[bold]{plan.kind.replace('_', '-')}[/], {plan.state.replace('_', ' ')}: {escape(releases.in_words(plan))}"
    )
    if plan.why:
        console.print(f"[dim]{escape(plan.why)}[/]")
    console.print(_roles(plan), _history(model), sep="\n")
    if plan.kind == "ab":
        found = comparison.standing(plan)
        console.print(
            f"sequential test: evidence {found.evidence:.3g} after {found.pairs} labelled pairs "
            f"({1 / found.alpha:g} decides, at most {found.most}), b - a in [{found.low:+.2f}, {found.high:+.2f}]",
            highlight=False,
        )


def _roles(plan: Plan) -> Table:
    now = datetime.now(UTC)
    # A plan with two versions is judged since its step began; one version has no steps.
    since = plan.since if plan.two else now - timedelta(hours=LAST_H)
    counted = traffic.read(plan.model, since=since, revision=plan.revision if plan.two else None)
    window = f"since {plan.since:%H:%M:%S} UTC" if plan.two else f"last {LAST_H} h"
    table = _table(f"{plan.model}, {window}")
    for name in ("role", "version", "share", "service"):
        table.add_column(name, no_wrap=True)
    compared = any(counts.compared for counts in counted.values())
    for name in ("calls", "errors", "p50 ms", "p95 ms", *(["agreement"] if compared else [])):
        table.add_column(name, justify="right", no_wrap=name != "agreement")
    services = releases.announced(plan.model)
    roles = {(version, role) for role, version in plan.roles().items()} | set(counted)
    shares = {"shadow": "copies", "canary": f"{plan.share} %", "b": f"{plan.share} %"}
    rest = f"{100 - plan.share} %" if plan.two else "100 %"
    for version, role in sorted(roles, key=lambda one: (one[1] not in ("champion", "a"), one)):
        counts = counted.get((version, role), traffic.Counts())
        now_in_it = plan.roles().get(role) == version  # type: ignore[call-overload]
        agreed = f"{counts.agreement / counts.compared:.3f} of {counts.compared:,}" if counts.compared else ""
        table.add_row(
            role,
            str(version),
            shares.get(role, rest) if now_in_it else "",
            _address(services.get((plan.model, version))),
            f"{counts.calls:,}",
            f"{counts.errors:,}",
            _ms(counts.latencies.quantile(0.5)),
            _ms(counts.latencies.quantile(0.95)),
            *([agreed] if compared else []),
        )
    if plan.previous and (plan.model, plan.previous) in services and (plan.previous, "champion") not in roles:
        table.add_row("warm", str(plan.previous), "", _address(services[plan.model, plan.previous]))
    table.caption = "; ".join(filter(None, (_also(*of, counts) for of, counts in sorted(counted.items())))) or None
    return table


def _also(version: int, role: str, counts: traffic.Counts) -> str:
    """What happens now and then."""
    said = (
        (counts.refused, "refused (429)"),
        (counts.retried, "answered by the other version"),
        (counts.dropped, "copies dropped"),
    )
    found = ", ".join(f"{count:,} {what}" for count, what in said if count)
    return f"version {version} as {role}: {found}" if found else ""


def _address(service: releases.Endpoint | None) -> str:
    return service.url.removeprefix("http://") if service else "stopped"


def _history(model: str) -> Table:
    table = _table("changes, the latest first")
    for name in ("when (UTC)", "what", "champion", "second", "who"):
        table.add_column(name, no_wrap=True)
    table.add_column("why")
    for event in releases.events(model, EVENTS):
        second = f"{event.challenger} at {event.share} %" if event.share else str(event.challenger or "")
        when = f"{event.time:%m-%d %H:%M:%S}"
        table.add_row(when, event.what, str(event.version), second, escape(event.who), escape(event.why))
    return table


def _table(title: str) -> Table:
    """Fits a terminal of 80 columns."""
    return Table(
        title=title,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )


def _ms(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.1f}"
