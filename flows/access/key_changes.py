"""keys change, keys rotate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import click

from flows.access import trail
from flows.access.key_options import Moment, action_option, names
from flows.options import ModelName, complete
from registry.core.errors import BadInput
from serving.access import keys as store


class _Or(click.ParamType):
    """A value, or a word that stands for None."""

    def __init__(self, word: str, other: click.ParamType) -> None:
        self.name = other.name
        self._word, self._other = word, other

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return self._word if value == self._word else self._other.convert(value, param, ctx)


_LIMIT = _Or("default", click.IntRange(0))


@click.command()
@click.argument("key", shell_complete=complete(lambda: names("active")))
@click.option("--name", help="What the key is for.")
@click.option("--owner", help="Who uses it: a person, a team, a customer.")
@click.option("--model", "models", multiple=True, help="Only these models, or * for all; may be repeated.")
@action_option("may be repeated")
@click.option("--per-minute", type=_LIMIT, help="A number, 0 for no limit, or default: quota_per_minute.")
@click.option("--per-month", type=_LIMIT, help="A number, 0 for no limit, or default: quota_per_month.")
@click.option(
    "--expires",
    type=_Or("never", Moment(1)),
    help="When the key expires: after 90d or 2h, at the beginning of a date (UTC), or never.",
)
def change(key: str, **given: Any) -> None:
    """Change what KEY allows. What is not named stays, and so does the secret."""
    changes = {name: value for name, value in given.items() if value not in (None, ())}
    for model in changes.get("models", ()):
        if model != store.ALL:
            ModelName().convert(model, None, None)
    nones = {"per_minute": "default", "per_month": "default", "expires": "never"}
    changes = {name: None if value == nones.get(name) else value for name, value in changes.items()}
    api_key = store.change(key, changes)
    trail.note("key.change", api_key.caller, changed=sorted(changes))
    click.echo(f"{api_key.caller} {api_key.name} is changed: {', '.join(sorted(changes))}")


@click.command()
@click.argument("key", shell_complete=complete(lambda: names("active")))
@click.option("--grace", default="24h", metavar="TIME", help="How long the old secret stays valid: 24h, 2d, 0h.")
def rotate(key: str, grace: str) -> None:
    """Give KEY a new secret and print the new key, once. The old one is valid for the grace time."""
    api_key, token = store.rotate(key, _span(grace))
    trail.note("key.rotate", api_key.caller, grace=grace)
    until = datetime.fromtimestamp(api_key.old_until or 0, UTC)
    click.echo(f"{api_key.caller} {api_key.name}: the old secret is valid until {until:%Y-%m-%d %H:%M} UTC", err=True)
    click.echo("this is shown once, only its hash is kept:", err=True)
    click.echo(token)


def _span(text: str) -> timedelta:
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdigit() and len(number) < 6 and unit in ("h", "d")):
        raise BadInput(f"--grace is {text!r}", expected="hours or days", fix="e.g. 24h or 2d")
    return timedelta(hours=int(number) * (24 if unit == "d" else 1))
