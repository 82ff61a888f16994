"""release, rollback: which versions of a model get its traffic."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from flows.cli.options import model_argument, prepare
from flows.cli.release_options import ReleaseOptions, limit_of, refuse_misspelt, shares_of
from flows.terminal_progress import show_progress
from registry.core.errors import MissingService, NotFound

if TYPE_CHECKING:
    from registry.versions.mlflow_registry import Version
    from serving.releases.plans import Kind, Plan


def _complete_action(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in ACTIONS if name.startswith(incomplete)]


@click.command()
@model_argument
@click.argument("what", default="champion", metavar="[VERSION|ACTION]", shell_complete=_complete_action)
@click.argument("versions", nargs=-1)
@click.option("--share", type=int, help="canary, ab: percent of the requests for the second version, 1 to 99.")
@click.option("--sticky", type=click.Choice(("caller", "request")), help="canary, ab: who gets the same version again.")
@click.option("--steps", help="canary: the shares of its steps, e.g. 10,50,100; `none` stays at --share.")
@click.option("--limit", "limits", multiple=True, metavar="NAME=VALUE", help="A guardrail, see docs/releases.md.")
@click.option("--why", default="", help="A reason for the history.")
@click.option("--anyway", metavar="REASON", help="Release what the gate did not grant; status and history show REASON.")
@click.option("--json", "as_json", is_flag=True, help="status: print JSON.")
def release(
    model: str,
    what: str,
    versions: tuple[str, ...],
    share: int | None,
    sticky: str | None,
    steps: str | None,
    limits: tuple[str, ...],
    why: str,
    anyway: str | None,
    as_json: bool,
) -> None:
    """Decide which versions of MODEL get its traffic. No request is dropped.

    \b
    release MODEL VERSION         all of it, at once; the version before is kept warm
    release MODEL blue-green V    the same
    release MODEL canary V        a --share, which grows by itself to all of it while no guardrail breaks;
                                  with --steps none it stays at --share
    release MODEL shadow V        V gets copies; its answers are compared and thrown away
    release MODEL ab V1 V2        both, until a sequential test on labels says which is better
    release MODEL promote         the second version gets all of it
    release MODEL rollback        end the trial of a second version, or go back to the previous one
    release MODEL status          shares, calls, errors and latencies by role, and how far the guard is

    This moves traffic. A version that the gate did not grant needs --anyway, except as a shadow. `visionloop promote`
    asks the gate to make a version the registry's champion.
    """
    name = what.replace("_", "-")
    name = {"all": "blue-green", "a-b": "ab"}.get(name, name)
    if name not in ACTIONS:
        refuse_misspelt(what, ACTIONS)
        name, versions = "blue-green", (what, *versions)
    ACTIONS[name](ReleaseOptions(model, versions, share, sticky, steps, limits, why, anyway, as_json))


@click.command()
@model_argument
@click.option("--why", default="", help="A reason for the history.")
def rollback(model: str, why: str) -> None:
    """End the trial of MODEL's second version, or give the traffic back to the previous version."""
    _rollback(ReleaseOptions(model, (), None, None, None, (), why))


def _blue_green(options: ReleaseOptions) -> None:
    options.refuse(1, "anyway")
    prepare(local=False)
    from flows import steps

    found = _granted(options, options.versions[0])
    with show_progress():
        steps.release(found, steps.package(found), why=options.why, anyway=options.anyway or "")


def _canary(options: ReleaseOptions) -> None:
    from serving.releases.plans import STEPS

    options.refuse(1, "share", "sticky", "steps", "limit", "anyway")
    share = STEPS[0] if options.share is None else options.share
    steps = tuple(step for step in STEPS if step > share) if options.steps is None else shares_of(options.steps)
    _begin(options, "canary", options.versions[0], share=share, sticky=options.sticky or "request", steps=steps)


def _shadow(options: ReleaseOptions) -> None:
    options.refuse(1, "limit")
    _begin(options, "shadow", options.versions[0])


def _ab(options: ReleaseOptions) -> None:
    options.refuse(2, "share", "sticky", "limit", "anyway")
    share = 50 if options.share is None else options.share
    _begin(options, "ab", options.versions[1], share=share, sticky=options.sticky or "caller")


def _begin(options: ReleaseOptions, kind: Kind, second: str, **more: Any) -> None:
    """Puts a plan with two versions into effect. For an A/B comparison it first makes the first version live."""
    from serving.releases import store
    from serving.releases.plans import Limits, Plan

    limits = Limits.of(dict(limit_of(one) for one in options.limits))
    # Refuses a bad share before anything is started; the versions are not known yet.
    Plan(options.model, kind, live=0, second=-1, limits=limits, **more)
    prepare(local=False)
    from flows import steps
    from registry.core import database

    database.migrate()
    current = store.plan(options.model)
    if kind == "ab":
        first = _granted(options, options.versions[0])
    elif current is None:
        raise NotFound(
            f"no version of {options.model} is live",
            expected="a version to compare with",
            fix=f"`visionloop release {options.model} VERSION` releases one",
        )
    version = (_version if kind == "shadow" else _granted)(options, second)
    live = first.number if kind == "ab" else current.live if current else 0
    plan = Plan(options.model, kind, live, version.number, limits=limits, **more)
    with show_progress() as console:
        if current is None or current.live != live:
            steps.release(first, steps.package(first), why=options.why, anyway=options.anyway or "")
            current = None
        changed = steps.start_plan(plan, version, steps.package(version), why=options.why, anyway=options.anyway or "")
    if current is not None and current.second is not None:
        click.echo(f"this ends the {current.kind} of version {current.second}")
    console.print(store.in_words(changed), highlight=False)


def _promote(options: ReleaseOptions) -> None:
    options.refuse(0, "anyway")
    prepare(local=False)
    from serving.releases import deploy

    began = time.perf_counter()
    changed = deploy.promote(options.model, why=options.why, anyway=options.anyway or "")
    _say(changed, began)
    deploy.follow(changed)


def _rollback(options: ReleaseOptions) -> None:
    """Moves the traffic first, then the alias in MLflow, which may be away."""
    options.refuse(0)
    prepare(local=False)
    from registry.core import database
    from serving.releases import store

    database.migrate()
    before = store.plan(options.model)
    if before is not None and (before.second is not None or before.previous is not None):
        _return_traffic(options, before)
        return
    from flows import steps
    from registry.versions.mlflow_registry import Versions

    with show_progress() as console:
        found = Versions().roll_back(options.model)
        steps.release(found, steps.package(found), why=options.why, anyway="a rollback to the champion before")
    console.print(f"{found} is champion again")


def _return_traffic(options: ReleaseOptions, before: Plan) -> None:
    from serving.releases import deploy, endpoints

    if before.second is None and before.state == "rolled_back":
        click.echo(
            f"version {before.live} is live since a rollback from version {before.previous}; this goes back to version "
            f"{before.previous}"
        )
    began = time.perf_counter()
    try:
        changed = deploy.roll_back(options.model, why=options.why, revision=before.revision)
    except NotFound:  # no longer warm
        from flows import steps

        back = _version(options, str(before.previous))
        with show_progress():
            kept = endpoints.announced(options.model, retired=True).get((options.model, back.number))
            reason = (kept.anyway if kept else "") or "a rollback to the version before"
            steps.release(back, steps.package(back), why=options.why or "rollback", anyway=reason)
        _return_alias(options.model, before.live, None)
        return
    _say(changed, began)
    _return_alias(options.model, before.second or before.live, changed)
    deploy.follow(changed)


def _return_alias(model: str, left: int, changed: Plan | None) -> None:
    """Gives the champion's alias back. Where MLflow is away, the guard does it later."""
    from flows import steps  # not earlier: its imports would delay the traffic
    from serving.releases import store

    now = store.plan(model)
    try:
        if now and steps.return_alias(model, left, now.live):
            click.echo(f"{model}@{now.live} is champion again")
    except MissingService as error:  # no failure: the traffic has been moved
        later = "; the guard gives it back when MLflow answers" if changed else ""
        click.echo(f"the registry's alias stays as it was{later}: {error.found}", err=True)


def _say(changed: Plan, began: float) -> None:
    from serving.releases import store

    click.echo(f"{store.in_words(changed)} ({time.perf_counter() - began:.1f} s)")


def _status(options: ReleaseOptions) -> None:
    options.refuse(0, "json")
    from flows.cli import release_status

    release_status.show(options.model, as_json=options.json)


ACTIONS: Mapping[str, Callable[[ReleaseOptions], None]] = {
    "blue-green": _blue_green,
    "canary": _canary,
    "shadow": _shadow,
    "ab": _ab,
    "promote": _promote,
    "rollback": _rollback,
    "status": _status,
}


def _version(options: ReleaseOptions, which: str) -> Version:
    from registry.versions.mlflow_registry import Versions

    return Versions().get(options.model, which)


def _granted(options: ReleaseOptions, which: str) -> Version:
    """The version, if the gate granted it or there is a reason. Refuses before anything is packaged."""
    from serving.releases import grants

    found = _version(options, which)
    grants.check_digest(options.model, found.number, found.digest, options.anyway)
    return found
