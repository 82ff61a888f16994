"""release, rollback: which versions of a model get its traffic."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from flows.cli.options import model_argument, prepare
from flows.cli.teller import telling
from registry.errors import BadInput, MissingService, NotFound

if TYPE_CHECKING:
    from registry.versions import Version
    from serving.deploy import Late
    from serving.plans import Kind, Plan


@dataclass(frozen=True)
class Asked:
    """What stood on the command line; None or () where nothing did."""

    model: str
    versions: tuple[str, ...]
    share: int | None
    sticky: str | None
    steps: str | None
    limits: tuple[str, ...]
    why: str

    def refuse(self, count: int, *options: str) -> None:
        """Raises BadInput unless there are `count` versions and no option but those named."""
        given = {"share": self.share, "sticky": self.sticky, "steps": self.steps, "limit": self.limits or None}
        if extra := [f"--{name}" for name, value in given.items() if value is not None and name not in options]:
            raise BadInput(
                f"{', '.join(extra)} means nothing here",
                expected=", ".join(f"--{name}" for name in options) or "no such option",
                mend="leave it out; `visionloop release --help` says what goes with what",
            )
        if len(self.versions) != count:
            raise BadInput(
                f"the versions are {', '.join(self.versions) or 'not named'}",
                expected=("none", "one", "two")[count],
                mend="a version is a number or an alias, e.g. 3 or challenger",
            )


@click.command()
@model_argument
@click.argument("what", default="champion", metavar="[VERSION|ACTION]")
@click.argument("versions", nargs=-1)
@click.option("--share", type=int, help="canary, ab: percent of the requests for the second version, 1 to 99.")
@click.option(
    "--sticky", type=click.Choice(("caller", "request")), help="canary, ab: who meets the same version again."
)
@click.option("--steps", help="canary: shares to go through by itself, e.g. 10,50,100; `none` stays at --share.")
@click.option("--limit", "limits", multiple=True, metavar="NAME=VALUE", help="A guard rail, see docs/releases.md.")
@click.option("--why", default="", help="Stands in the history.")
def release(
    model: str,
    what: str,
    versions: tuple[str, ...],
    share: int | None,
    sticky: str | None,
    steps: str | None,
    limits: tuple[str, ...],
    why: str,
) -> None:
    """Decide which versions of MODEL get its traffic. No request is dropped.

    \b
    release MODEL VERSION         all of it, at once; the version before is kept warm
    release MODEL blue-green V    the same
    release MODEL canary V        a --share, growing by itself while no guard rail breaks
    release MODEL shadow V        V gets copies; its answers are compared and thrown away
    release MODEL ab V1 V2        both, until a sequential test on feedback tells them apart
    release MODEL promote         the second version becomes the champion
    release MODEL rollback        back to the champion, or to the version before
    release MODEL status          shares, calls, errors and latencies by role
    """
    asked = Asked(model, versions, share, sticky, steps, limits, why)
    action = ACTIONS.get(what)
    if action is None:
        asked = Asked(model, (what, *versions), share, sticky, steps, limits, why)
        action = _blue_green
    action(asked)


@click.command()
@model_argument
@click.option("--why", default="", help="Stands in the history.")
def rollback(model: str, why: str) -> None:
    """Give MODEL's traffic back: to the champion during a canary, else to the version before."""
    _rollback(Asked(model, (), None, None, None, (), why))


def _blue_green(asked: Asked) -> None:
    asked.refuse(1)
    prepare(local=False)
    from flows import steps

    found = _version(asked.model, asked.versions[0])
    with telling():
        steps.release(found, steps.package(found))


def _canary(asked: Asked) -> None:
    from serving.plans import STEPS

    asked.refuse(1, "share", "sticky", "steps", "limit")
    share = STEPS[0] if asked.share is None else asked.share
    steps = tuple(step for step in STEPS if step > share) if asked.steps is None else _steps(asked.steps)
    _begin(asked, "canary", asked.versions[0], share=share, sticky=asked.sticky or "request", steps=steps)


def _shadow(asked: Asked) -> None:
    asked.refuse(1, "limit")
    _begin(asked, "shadow", asked.versions[0])


def _ab(asked: Asked) -> None:
    asked.refuse(2, "share", "sticky", "limit")
    share = 50 if asked.share is None else asked.share
    _begin(asked, "ab", asked.versions[1], share=share, sticky=asked.sticky or "caller")


def _begin(asked: Asked, kind: Kind, second: str, **more: Any) -> None:
    """Puts a plan with two versions into effect, its first version being live."""
    from serving import deploy, releases
    from serving.plans import Limits, Plan

    limits = Limits.of(dict(_limit(one) for one in asked.limits))
    Plan(asked.model, kind, champion=0, limits=limits, **more)  # refuses a bad share before anything is started
    prepare(local=False)
    from flows import steps
    from flows.stack.control import Stack
    from registry import database

    database.setup()
    database.migrate()
    live = releases.plan(asked.model)
    if kind == "ab":
        first = _version(asked.model, asked.versions[0])
    elif live is None:
        raise NotFound(
            f"no version of {asked.model} is live",
            expected="a version to compare with",
            mend=f"`visionloop release {asked.model} VERSION` releases one",
        )
    challenger = _version(asked.model, second)
    champion = first.number if kind == "ab" else live.champion if live else 0
    plan = Plan(asked.model, kind, champion, challenger.number, limits=limits, **more)
    with telling() as console:
        if live is None or live.champion != champion:
            steps.release(first, steps.package(first))
        changed = deploy.begin(plan, challenger, steps.package(challenger), Stack(), why=asked.why)
    console.print(said(changed), highlight=False)


def _promote(asked: Asked) -> None:
    asked.refuse(0)
    prepare(local=False)
    from flows.stack.control import Stack
    from serving import deploy

    began = time.perf_counter()
    changed = deploy.promote(asked.model, Stack(), why=asked.why)
    click.echo(f"{said(changed)} ({time.perf_counter() - began:.1f} s)")


def _rollback(asked: Asked) -> None:
    """The traffic first, which is a change in the database; the alias in MLflow after it."""
    asked.refuse(0)
    prepare(local=False)
    from registry import database
    from serving import releases

    database.setup()
    database.migrate()
    before = releases.plan(asked.model)
    if before is not None and (before.two or before.previous is not None):
        late = _return_traffic(asked, before)
        _return_alias(asked.model, before.challenger if before.two else before.champion)
        if late is not None:
            raise late
        return
    from flows import steps
    from registry.versions import Versions

    with telling() as console:
        found = Versions().roll_back(asked.model)
        steps.release(found, steps.package(found))
    console.print(f"{found} is champion again")


def _return_traffic(asked: Asked, before: Plan) -> Late | None:
    """Also where a router is late, which is returned: the rest of a rollback does not wait for it."""
    from flows.stack.control import Stack
    from serving import deploy

    began, late = time.perf_counter(), None
    try:
        changed = deploy.roll_back(asked.model, Stack(), why=asked.why, clean=False)
    except deploy.Late as error:
        changed, late = error.plan, error
    except NotFound:  # no longer warm
        from flows import steps

        back = _version(asked.model, str(before.previous))
        with telling():
            steps.release(back, steps.package(back))
        return None
    click.echo(f"{said(changed)} ({time.perf_counter() - began:.1f} s)")
    deploy.tidy(asked.model, Stack())
    return late


def _return_alias(model: str, leaves: int | None) -> None:
    from flows import steps  # not before: its imports would hold the traffic up
    from serving import releases

    now = releases.plan(model)
    try:
        if leaves and now and steps.return_alias(model, leaves, now.champion):
            click.echo(f"{model}@{now.champion} is champion again")
    except MissingService as error:  # the traffic is what counts, and that has been moved
        click.echo(f"the registry's alias stays as it was: {error.found}", err=True)


def _status(asked: Asked) -> None:
    asked.refuse(0)
    from rich.console import Console

    from flows.cli.release_status import show

    show(asked.model, Console())


ACTIONS: Mapping[str, Callable[[Asked], None]] = {
    "blue-green": _blue_green,
    "canary": _canary,
    "shadow": _shadow,
    "ab": _ab,
    "promote": _promote,
    "rollback": _rollback,
    "status": _status,
}


def said(plan: Plan) -> str:
    """A plan in one sentence."""
    if plan.challenger is None or not plan.two:
        warm = f"; version {plan.previous} is kept warm" if plan.previous else ""
        return f"version {plan.champion} of {plan.model} gets every request{warm}"
    if plan.kind == "shadow":
        return f"version {plan.champion} of {plan.model} answers; version {plan.challenger} gets copies"
    steps = f", then {', '.join(f'{s} %' for s in plan.steps if s > plan.share)}" if plan.next_step else ""
    by = "callers" if plan.sticky == "caller" else "requests"
    return (
        f"version {plan.challenger} of {plan.model} gets {plan.share} % of the {by}{steps}; "
        f"version {plan.champion} the rest"
    )


def _version(model: str, which: str) -> Version:
    from registry.versions import Versions

    return Versions().get(model, which)


def _steps(text: str) -> tuple[int, ...]:
    if text == "none":
        return ()
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise BadInput(
            f"the steps are {text!r}", expected="shares in percent, e.g. 10,50,100", mend="correct --steps"
        ) from error


def _limit(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise BadInput(f"the limit is {text!r}", expected="NAME=VALUE, e.g. latency_ratio=2", mend="correct --limit")
    return name, value
