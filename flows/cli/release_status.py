"""`visionloop release MODEL status`: the plan, the counts of its versions, the guard's progress, and the history."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.releases.status import LAST_H, gather
from registry.core import database
from registry.core.errors import NotFound
from serving.releases import store
from serving.releases.plans import Plan


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


def _guard(progress: dict[str, Any] | None) -> list[str]:
    if progress is None:
        return []
    lines = []
    if progress["next_share"] is not None:
        lines.append(
            f"the guard: {progress['calls']:,} of {progress['min_calls']:,} calls and {progress['seconds']:,} of "
            f"{progress['min_seconds']:,.0f} s until {progress['next_share']} %, while every guardrail holds"
        )
    guardrails = progress["guardrails"]
    lines += [f"  {'holds ' if one['passed'] else 'BROKEN'} {one['rule']}: {one['found']}" for one in guardrails]
    return lines if guardrails else [*lines, "  no guard has looked at this step yet: `visionloop status`"]


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
    for name in ("when (UTC)", "what", "from", "live", "second", "who"):
        table.add_column(name, no_wrap=True)
    table.add_column("why")
    for event in events:
        second = f"{event['second']} at {event['share']} %" if event["share"] else str(event["second"] or "")
        when = f"{datetime.fromisoformat(event['time']):%m-%d %H:%M:%S}"
        why = escape(event["why"]) or "[dim]no reason given[/]"
        left, live = str(event["from"] or ""), str(event["live"])
        table.add_row(when, event["what"], left, live, second, escape(event["who"]), why)
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
