"""keys: create, list, show, change, rotate, revoke, usage."""

from __future__ import annotations

import itertools
import json
import shutil
import textwrap
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import Any

import click

from flows.access import trail
from flows.access.key_changes import change, rotate
from flows.access.key_options import Moment, action_option, names
from flows.options import ModelName, OutputFile, complete
from registry.core import database
from registry.core.files import write_file
from serving.access import keys as store
from serving.access import report
from serving.access.keys import ApiKey
from serving.access.report import NamedUsageRow
from serving.web import configuration

_STYLES = {"active": "green", "expired": "yellow", "revoked": "red"}


@click.group()
def keys() -> None:
    """API keys: who may ask the router for what, how often, and the usage so far."""
    configuration.setup()
    database.migrate()


keys.add_command(change)
keys.add_command(rotate)


@keys.command()
@click.argument("name")
@click.option("--owner", default="", help="Who uses it: a person, a team, a customer.")
@click.option("--model", "models", multiple=True, type=ModelName(), help="Only these models; may be repeated.")
@action_option("default: all but admin")
@click.option("--per-minute", type=click.IntRange(0), help="Default: quota_per_minute; 0: no limit.")
@click.option("--per-month", type=click.IntRange(0), help="Default: quota_per_month; 0: no limit.")
@click.option(
    "--expires",
    type=Moment(1),
    help="When the key expires: after 90d or 2h, or at the beginning of a date (UTC). Default: never.",
)
def create(name: str, models: tuple[str, ...], actions: tuple[str, ...], **more: Any) -> None:
    """Make a key called NAME and print it, once. Routers know it within a second."""
    api_key, token = store.create(name, models=models or (store.ALL,), actions=actions or store.DEFAULT_ACTIONS, **more)
    trail.note("key.create", api_key.caller, models=sorted(api_key.models), actions=sorted(api_key.actions))
    click.echo(f"{api_key.caller} {api_key.name}: {_models(api_key)}; {', '.join(sorted(api_key.actions))}", err=True)
    click.echo("this is shown once, only its hash is kept:", err=True)
    click.echo(token)


@keys.command("list")
@click.option("--all", "everything", is_flag=True, help="Also the revoked and expired ones.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(everything: bool, as_json: bool) -> None:
    """The keys, the oldest first."""
    now = datetime.now(UTC).timestamp()
    every = list(store.every())
    found = [api_key for api_key in every if everything or api_key.state(now) == "active"]
    if as_json:
        click.echo(json.dumps([_facts(api_key) for api_key in found], indent=2))
        return
    # Two lines for each key: columns would not fit a terminal.
    for api_key in found:
        state = api_key.state(now)
        click.echo(f"{api_key.caller}  {click.style(f'{state:<7}', fg=_STYLES[state])}  {api_key.name}")
        owner = f"{api_key.owner}; " if api_key.owner else ""
        expires = f"; expires {_day(api_key.expires)}" if api_key.expires is not None else ""
        actions = " ".join(sorted(api_key.actions))
        rest = f"{owner}{_models(api_key)}; {actions}; quota {_quota(api_key)}{expires}"
        indent, width = " " * 17, shutil.get_terminal_size().columns
        click.echo(textwrap.fill(rest, width, initial_indent=indent, subsequent_indent=indent))
    if not found:
        more = (
            f"no active keys, {len(every)} expired or revoked: `visionloop keys list --all`; " if every else "no keys: "
        )
        click.echo(f"{more}`visionloop keys create NAME` makes one")


@keys.command()
@click.argument("key", shell_complete=complete(names))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(key: str, as_json: bool) -> None:
    """Show what KEY (its part before the secret) allows, and its requests this month."""
    api_key = store.get(key)
    today = datetime.now(UTC).date()
    used = sum(row.requests for row in report.rows(today.replace(day=1), today, api_key.id))
    if as_json:
        click.echo(json.dumps({**_facts(api_key), "requests_this_month": used}, indent=2))
        return
    for name, value in {
        "key": api_key.caller,
        "name": api_key.name,
        "owner": api_key.owner,
        "state": api_key.state(datetime.now(UTC).timestamp()),
        "models": _models(api_key),
        "actions": ", ".join(sorted(api_key.actions)),
        "requests a minute": _limit(api_key.per_minute),
        "requests a month": _limit(api_key.per_month),
        "requests this month": f"{used:,}",
        "created": _day(api_key.created),
        "expires": _day(api_key.expires),
        "revoked": _day(api_key.revoked),
        "old secret until": _day(api_key.old_until),
    }.items():
        click.echo(f"{name:<20} {value}")


def _facts(api_key: ApiKey) -> dict[str, Any]:
    """A key for JSON. Times are ISO 8601; null means never, or the default."""
    moments = {name: getattr(api_key, name) for name in ("created", "expires", "revoked")}
    return {
        "key": api_key.caller,
        "name": api_key.name,
        "owner": api_key.owner,
        "state": api_key.state(datetime.now(UTC).timestamp()),
        "models": sorted(api_key.models),
        "actions": sorted(api_key.actions),
        "per_minute": api_key.per_minute,
        "per_month": api_key.per_month,
        **{k: datetime.fromtimestamp(v, UTC).isoformat() if v is not None else None for k, v in moments.items()},
    }


@keys.command()
@click.argument("key", shell_complete=complete(lambda: names("active")))
def revoke(key: str) -> None:
    """End KEY. Every router refuses it within two seconds."""
    api_key = store.revoke(key)
    trail.note("key.revoke", api_key.caller)
    click.echo(f"{api_key.caller} {api_key.name} is revoked")


@keys.command()
@click.argument("key", required=False, shell_complete=complete(names))
@click.option(
    "--since", type=Moment(-1), help="A date, or a number of days like 30d. Default: the first of this month."
)
@click.option("--until", type=Moment(-1), help="A date, included. Default: today.")
@click.option("--csv", "path", type=OutputFile(), help="Write it there; - is the terminal.")
def usage(key: str | None, since: datetime | None, until: datetime | None, path: Path | None) -> None:
    """Show the usage of KEY, or of all keys, by model and day (UTC)."""
    today = datetime.now(UTC).date()
    first, last = since.date() if since else today.replace(day=1), until.date() if until else today
    rows = report.rows(first, last, store.get(key).id if key else None)
    if path is None:
        _usage(rows) if rows else click.echo(f"nothing from {first} to {last}")
    elif str(path) == "-":
        click.echo(report.as_csv(rows), nl=False)
    else:
        write_file(path, report.as_csv(rows))
        click.echo(f"{len(rows)} rows in {path}")


def _usage(found: list[NamedUsageRow]) -> None:
    """Prints a block for each key; its rows fit 80 columns."""
    widths = {"requests": 9, "errors": 7, "429": 6, "MB in": 7, "MB out": 7, "seconds": 8}
    for (key, name), rows in itertools.groupby(
        sorted(found, key=lambda row: (row.key, row.day)), attrgetter("key", "name")
    ):
        click.echo(f"{key or 'no key'}  {name}".rstrip())
        click.echo(f"  {'day':<10} {'model':<22}" + "".join(f"{head:>{width}}" for head, width in widths.items()))
        for row in rows:
            counts = (f"{count:,}" for count in (row.requests, row.errors, row.refused))
            sizes = (row.bytes_in / 1e6, row.bytes_out / 1e6, row.elapsed_ms / 1000)
            cells = (*counts, *(f"{size:,.1f}" if size < 1000 else f"{size:,.0f}" for size in sizes))
            numbers = "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths.values(), strict=True))
            click.echo(f"  {row.day.isoformat():<10} {row.model:<22}{numbers}")


def _models(api_key: ApiKey) -> str:
    return "all models" if api_key.reaches("") else " ".join(sorted(api_key.models))


def _quota(api_key: ApiKey) -> str:
    own = (("minute", api_key.per_minute), ("month", api_key.per_month))
    return " ".join(f"{value or 'any'}/{period}" for period, value in own if value is not None) or "default"


def _limit(value: int | None) -> str:
    return "default" if value is None else f"{value:,}" if value else "no limit"


def _day(moment: float | None) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC" if moment is not None else "never"
