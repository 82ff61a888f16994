"""keys: create, list, show, revoke, usage."""

from __future__ import annotations

import itertools
import json
import shutil
import textwrap
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.cli.options import KeyAction, KeyId, ModelName
from registry.core import database
from registry.core.errors import BadInput

if TYPE_CHECKING:
    from serving.access.keys import ApiKey
    from serving.access.report import UsageRow

_STYLES = {"active": "green", "expired": "yellow", "revoked": "red"}


@click.group()
def keys() -> None:
    """API keys: who may ask the router for what, how often, and what was asked."""
    database.migrate()


@keys.command()
@click.argument("name")
@click.option("--owner", default="", help="Who has it: a person, a team, a customer.")
@click.option("--model", "models", multiple=True, type=ModelName(), help="Only these models; may be repeated.")
@click.option(
    "--action",
    "actions",
    multiple=True,
    type=KeyAction(),
    help="predict, read, feedback or admin; default: all but admin.",
)
@click.option("--per-minute", type=click.IntRange(0), help="Default: quota_per_minute; 0: no limit.")
@click.option("--per-month", type=click.IntRange(0), help="Default: quota_per_month; 0: no limit.")
@click.option(
    "--expires",
    help="So long from now, 90d or 2h; or a date, from whose beginning (UTC) the key is refused. Default: never.",
)
def create(
    name: str,
    owner: str,
    models: tuple[str, ...],
    actions: tuple[str, ...],
    per_minute: int | None,
    per_month: int | None,
    expires: str | None,
) -> None:
    """Make a key called NAME and print it, this once. Routers know it within a second."""
    from serving.access import keys as store

    grant, token = store.create(
        name,
        owner,
        models=models or (store.ALL,),
        actions=actions or store.USUAL,
        per_minute=per_minute,
        per_month=per_month,
        expires=_moment(expires),
    )
    click.echo(f"{grant.caller} {grant.name}: {_models(grant)}; {', '.join(sorted(grant.actions))}", err=True)
    click.echo("this is shown once, only its hash is kept:", err=True)
    click.echo(token)


@keys.command("list")
@click.option("--all", "everything", is_flag=True, help="The revoked and expired ones too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(everything: bool, as_json: bool) -> None:
    """The keys, the oldest first."""
    from serving.access import keys as store

    now = datetime.now(UTC).timestamp()
    every = list(store.every())
    found = [grant for grant in every if everything or grant.state(now) == "active"]
    if as_json:
        click.echo(json.dumps([_facts(grant) for grant in found], indent=2))
        return
    # Two lines a key: one to choose it by, and what it allows. As columns they would not fit a terminal.
    for grant in found:
        state = grant.state(now)
        click.echo(f"{grant.caller}  {click.style(f'{state:<7}', fg=_STYLES[state])}  {grant.name}")
        owner = f"{grant.owner}; " if grant.owner else ""
        expires = f"; expires {_day(grant.expires)}" if grant.expires is not None else ""
        actions = " ".join(sorted(grant.actions))
        rest = f"{owner}{_models(grant)}; {actions}; quota {_quota(grant)}{expires}"
        indent, width = " " * 17, shutil.get_terminal_size().columns
        click.echo(textwrap.fill(rest, width, initial_indent=indent, subsequent_indent=indent))
    if not found:
        more = (
            f"no active keys, {len(every)} expired or revoked: `visionloop keys list --all`; " if every else "no keys: "
        )
        click.echo(f"{more}`visionloop keys create NAME` makes one")


@keys.command()
@click.argument("key", type=KeyId())
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(key: str, as_json: bool) -> None:
    """What KEY (its part in front of the secret) allows, and what it did this month."""
    from serving.access import keys as store
    from serving.access import report

    grant = store.get(key)
    today = datetime.now(UTC).date()
    used = sum(line.requests for line in report.lines(today.replace(day=1), today, grant.id))
    if as_json:
        click.echo(json.dumps({**_facts(grant), "requests_this_month": used}, indent=2))
        return
    for name, value in {
        "key": grant.caller,
        "name": grant.name,
        "owner": grant.owner,
        "state": grant.state(datetime.now(UTC).timestamp()),
        "models": _models(grant),
        "actions": ", ".join(sorted(grant.actions)),
        "requests a minute": _limit(grant.per_minute),
        "requests a month": _limit(grant.per_month),
        "requests this month": f"{used:,}",
        "created": _day(grant.created),
        "expires": _day(grant.expires),
        "revoked": _day(grant.revoked),
    }.items():
        click.echo(f"{name:<20} {value}")


def _facts(grant: ApiKey) -> dict[str, Any]:
    """A key for JSON; moments are ISO 8601, null where there is none or the default is meant."""
    moments = {name: getattr(grant, name) for name in ("created", "expires", "revoked")}
    return {
        "key": grant.caller,
        "name": grant.name,
        "owner": grant.owner,
        "state": grant.state(datetime.now(UTC).timestamp()),
        "models": sorted(grant.models),
        "actions": sorted(grant.actions),
        "per_minute": grant.per_minute,
        "per_month": grant.per_month,
        **{k: datetime.fromtimestamp(v, UTC).isoformat() if v is not None else None for k, v in moments.items()},
    }


@keys.command()
@click.argument("key", type=KeyId(active=True))
def revoke(key: str) -> None:
    """End KEY; every router refuses it within two seconds."""
    from serving.access import keys as store

    grant = store.revoke(key)
    click.echo(f"{grant.caller} {grant.name} is revoked")


@keys.command()
@click.argument("key", required=False, type=KeyId())
@click.option("--since", help="A date, or a number of days like 30d. Default: the first of this month.")
@click.option("--until", help="A date, included. Default: today.")
@click.option("--csv", "path", type=click.Path(path_type=Path), help="Write it there; - is the terminal.")
def usage(key: str | None, since: str | None, until: str | None, path: Path | None) -> None:
    """What was asked, by key, model and day (UTC): of KEY, or of all."""
    from registry.core.files import write_file
    from serving.access import keys as store
    from serving.access import report

    today = datetime.now(UTC).date()
    first, last = _date(since) or today.replace(day=1), _date(until) or today
    lines = report.lines(first, last, store.get(key).id if key else None)
    if path is None:
        _usage(lines) if lines else click.echo(f"nothing from {first} to {last}")
    elif str(path) == "-":
        click.echo(report.as_csv(lines), nl=False)
    else:
        write_file(path, report.as_csv(lines))
        click.echo(f"{len(lines)} rows in {path}")


def _usage(lines: list[UsageRow]) -> None:
    """A block a key; a row fits 80 columns."""
    widths = {"requests": 9, "errors": 7, "429": 6, "MB in": 7, "MB out": 7, "seconds": 8}
    for (key, name), rows in itertools.groupby(sorted(lines, key=lambda one: (one.key or "", one.day)), _whose):
        click.echo(f"{key or 'no key'}  {name}".rstrip())
        click.echo(f"  {'day':<10} {'model':<22}" + "".join(f"{head:>{width}}" for head, width in widths.items()))
        for row in rows:
            counts = (f"{count:,}" for count in (row.requests, row.errors, row.refused))
            sizes = (row.bytes_in / 1e6, row.bytes_out / 1e6, row.elapsed_ms / 1000)
            cells = (*counts, *(f"{size:,.1f}" if size < 1000 else f"{size:,.0f}" for size in sizes))
            numbers = "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths.values(), strict=True))
            click.echo(f"  {row.day.isoformat():<10} {row.model:<22}{numbers}")


def _whose(line: UsageRow) -> tuple[str, str]:
    return line.key or "", line.name


def _models(grant: ApiKey) -> str:
    return "all models" if grant.reaches("") else " ".join(sorted(grant.models))


def _quota(grant: ApiKey) -> str:
    own = (("minute", grant.per_minute), ("month", grant.per_month))
    return " ".join(f"{value or 'any'}/{period}" for period, value in own if value is not None) or "default"


def _limit(value: int | None) -> str:
    return "default" if value is None else f"{value:,}" if value else "no limit"


def _day(moment: float | None) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC" if moment is not None else "never"


def _moment(text: str | None) -> datetime | None:
    """The end of a key: so many days or hours from now, or the beginning of a day, UTC."""
    if not text:
        return None
    try:
        if text[:-1].isdecimal() and text[-1] in "dh":
            count = int(text[:-1])
            return datetime.now(UTC) + (timedelta(days=count) if text[-1] == "d" else timedelta(hours=count))
        return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
    except (ValueError, OverflowError) as error:
        raise BadInput(
            f"--expires is {text!r}",
            expected="days or hours from now like 90d or 2h, or a date like 2026-12-31",
            fix="correct --expires",
        ) from error


def _date(text: str | None) -> date | None:
    """A day; a number of days like 30d is that long ago."""
    if not text:
        return None
    try:
        if text.endswith("d"):
            return datetime.now(UTC).date() - timedelta(days=int(text[:-1]))
        return date.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise BadInput(
            f"{text!r} is no day",
            expected="a date like 2026-12-31, or days before today like 30d",
            fix="correct it",
        ) from error
