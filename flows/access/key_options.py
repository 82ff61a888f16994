"""What the commands of keys share: times on the command line, and names for the shell's completion."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import click

from flows.options import Command, complete
from registry.core.errors import BadInput
from serving.access import keys as store
from serving.access.key_checks import ACTIONS


class Moment(click.ParamType):
    """A date (its beginning, UTC), or days or hours from now: in the future with `sign` 1, in the past with -1."""

    name = "date"

    def __init__(self, sign: int) -> None:
        self._sign = sign

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            if span := re.fullmatch(r"(\d+)([dh])", value):
                return datetime.now(UTC) + self._sign * timedelta(hours=int(span[1]) * (24 if span[2] == "d" else 1))
            return datetime.combine(date.fromisoformat(value), datetime.min.time(), UTC)
        except (ValueError, OverflowError) as error:
            raise BadInput(
                f"{param.opts[0] if param else 'the time'} is {value!r}",
                expected="days or hours, or a date",
                fix="e.g. 90d, 2h or 2026-12-31",
            ) from error


def names(state: str = "") -> dict[str, str]:
    """Id -> name of the keys, or of those in a state."""
    now = datetime.now(UTC).timestamp()
    return {one.caller: one.name for one in store.every() if not state or one.state(now) == state}


def action_option(about: str) -> Callable[[Command], Command]:
    """`--action`, which may be repeated. `about`: the end of its help."""
    return click.option(
        "--action",
        "actions",
        multiple=True,
        metavar="ACTION",
        shell_complete=complete(lambda: ACTIONS),
        help=f"predict, read, feedback or admin; {about}.",
    )
