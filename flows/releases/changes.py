"""Changes of a release plan, as a person asks for them. Each says what it did, in words."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from flows.terminal_progress import show_progress
from registry.core import database
from registry.core.errors import MissingService, NotFound
from serving.releases import deploy, endpoints, grants, store
from serving.releases.plans import Plan

if TYPE_CHECKING:
    from registry.versions.mlflow_registry import Version

Say = Callable[[str], None]


def switch(model: str, which: str, *, why: str, anyway: str) -> None:
    """Gives a version all traffic at once. Raises Refused if the gate did not grant it and there is no reason."""
    from flows import steps

    found = _granted(model, which, anyway)
    with show_progress():
        steps.release(found, steps.package(found), why=why, anyway=anyway)


def start_trial(plan: Plan, versions: tuple[str, ...], say: Say, *, why: str, anyway: str) -> None:
    """Puts a plan with two versions into effect.

    Args:
        plan: without the numbers of its versions.
        versions: the second version; for an A/B comparison before it the first, which is made live where it is not.

    Raises:
        NotFound: a canary or a shadow, and no version is live.
        Refused: the gate did not grant a version, and there is no reason.
    """
    from flows import steps

    database.migrate()
    model, current, first = plan.model, store.plan(plan.model), None
    if plan.kind == "ab":
        first = _granted(model, versions[0], anyway)
    elif current is None:
        raise NotFound(
            f"no version of {model} is live",
            expected="a version to compare with",
            fix=f"`visionloop release {model} VERSION` releases one",
        )
    version = _version(model, versions[-1]) if plan.kind == "shadow" else _granted(model, versions[-1], anyway)
    live = first.number if first else current.live if current else 0
    with show_progress():
        if first and (current is None or current.live != live):
            steps.release(first, steps.package(first), why=why, anyway=anyway)
            current = None
        plan = replace(plan, live=live, second=version.number)
        changed = steps.start_plan(plan, version, steps.package(version), why=why, anyway=anyway)
    if current is not None and current.second is not None:
        say(f"this ends the {current.kind} of version {current.second}")
    say(store.in_words(changed))


def promote(model: str, say: Say, *, why: str, anyway: str) -> None:
    """Gives all traffic to the second version."""
    began = time.perf_counter()
    changed = deploy.promote(model, why=why, anyway=anyway)
    say(_moved(changed, began))
    deploy.follow(changed)


def roll_back(model: str, say: Say, *, why: str) -> None:
    """Ends a trial, or gives the traffic back to the previous version. Where there is none, MLflow's `previous`.

    Moves the traffic first, then the alias in MLflow, which may be away.
    """
    database.migrate()
    before = store.plan(model)
    if before is not None and (before.second is not None or before.previous is not None):
        _return_traffic(before, say, why)
        return
    from flows import steps
    from registry.versions.mlflow_registry import Versions

    with show_progress():
        found = Versions().roll_back(model)
        steps.release(found, steps.package(found), why=why, anyway="a rollback to the champion before")
    say(f"{found} is champion again")


def _return_traffic(before: Plan, say: Say, why: str) -> None:
    model = before.model
    if before.second is None and before.state == "rolled_back":
        say(
            f"version {before.live} is live since a rollback from version {before.previous}; this goes back to version "
            f"{before.previous}"
        )
    began = time.perf_counter()
    try:
        changed = deploy.roll_back(model, why=why, revision=before.revision)
    except NotFound:  # no longer warm
        from flows import steps

        back = _version(model, str(before.previous))
        with show_progress():
            kept = endpoints.announced(model, retired=True).get((model, back.number))
            reason = (kept.anyway if kept else "") or "a rollback to the version before"
            steps.release(back, steps.package(back), why=why or "rollback", anyway=reason)
        _warn_of_ungranted(model, back.number, say)
        _return_alias(model, before.live, "", say)
        return
    say(_moved(changed, began))
    _warn_of_ungranted(model, changed.live, say)
    _return_alias(model, before.second or before.live, "; the guard gives it back when MLflow answers", say)
    deploy.follow(changed)


def _warn_of_ungranted(model: str, version: int, say: Say) -> None:
    service = endpoints.announced(model).get((model, version))
    if service is not None and (without := grants.ungranted_reason(service)):
        say(
            f"the gate did not grant version {version} ({without}); "
            f"`visionloop release {model} champion` gives the champion the traffic"
        )


def _return_alias(model: str, left: int, later: str, say: Say) -> None:
    """Gives the champion's alias back. `later`: who does it where MLflow is away."""
    from flows import steps

    now = store.plan(model)
    try:
        if now and steps.return_alias(model, left, now.live):
            say(f"{model}@{now.live} is champion again")
    except MissingService as error:  # no failure: the traffic has been moved
        click.echo(f"the registry's alias stays as it was{later}: {error.found}", err=True)


def _moved(changed: Plan, began: float) -> str:
    return f"{store.in_words(changed)} ({time.perf_counter() - began:.1f} s)"


def _version(model: str, which: str) -> Version:
    from registry.versions.mlflow_registry import Versions

    return Versions().get(model, which)


def _granted(model: str, which: str, anyway: str) -> Version:
    """The version, if the gate granted it or there is a reason. Refuses before anything is packaged."""
    found = _version(model, which)
    grants.check(model, found.number, found.digest, anyway)
    return found
