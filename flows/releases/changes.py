"""Changes of a release plan, as a person asks for them. Each says what it did, in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from flows import champions
from flows.terminal_progress import show_progress
from registry.core import database
from registry.core.errors import NotFound
from registry.core.settings import settings
from registry.versions.mlflow_registry import CHAMPION, PREVIOUS
from serving.releases import deploy, endpoints, grants, moves, store
from serving.releases.plans import Plan

if TYPE_CHECKING:
    from registry.versions.mlflow_registry import Version

Say = Callable[[str], None]


def switch(model: str, which: str, say: Say, *, why: str, anyway: str, who: str = "") -> None:
    """Gives a version all traffic at once. `who`: for the history; "": the person at the command line.

    Raises:
        Refused: the gate did not grant it, and there is no reason.
    """
    from flows import steps

    found = _granted(model, which, anyway)
    with show_progress():
        steps.release(found, steps.package(found), who=who, why=why, anyway=anyway)
    say(live_now(model))


def start_trial(plan: Plan, versions: tuple[str, ...], say: Say, *, why: str, anyway: str, who: str = "") -> None:
    """Puts a plan with two versions into effect.

    Args:
        plan: without the numbers of its versions.
        versions: the second version; for an A/B comparison before it the first, which is made live where it is not.
        who: as for `switch`.

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
            steps.release(first, steps.package(first), who=who, why=why, anyway=anyway)
            current = None
        plan = replace(plan, live=live, second=version.number)
        changed = steps.start_plan(plan, version, steps.package(version), who=who, why=why, anyway=anyway)
    if current is not None and current.second is not None:
        say(f"this ends the {current.kind} of version {current.second}")
    say(store.in_words(changed))


def promote(model: str, say: Say, *, why: str, anyway: str) -> None:
    """Gives all traffic to the second version."""
    moves.promote(model, why=why, anyway=anyway, say=say)
    say(live_now(model))


def roll_back(model: str, say: Say, *, why: str, who: str = "") -> None:
    """Ends a trial, or gives the traffic back to the previous version. Where there is none, MLflow's `previous`.

    A version that is warm gets the traffic at once. Its alias in MLflow is the guard's work, which takes seconds.
    """
    database.migrate()
    before = store.plan(model)
    with moves.rollback_step(model, why):
        if before is None or (before.second is None and before.previous is None):
            _return_to_registry(model, say, why, who)
        else:
            _return_traffic(before, say, why, who)
    say(live_now(model))


def _return_to_registry(model: str, say: Say, why: str, who: str) -> None:
    """Releases MLflow's version `previous`."""
    from flows import steps
    from registry.versions.mlflow_registry import Versions

    with show_progress():
        found = Versions().roll_back(model)
        anyway = "a rollback to the champion before"
        steps.release(found, steps.package(found), who=who, why=why, anyway=anyway, back=True)
    say(f"{found} is champion again")


def _return_traffic(before: Plan, say: Say, why: str, who: str) -> None:
    model = before.model
    if before.second is None and before.state == "rolled_back":
        say(
            f"version {before.live} is live since a rollback from version {before.previous}; this goes back to version "
            f"{before.previous}"
        )
    try:
        changed = deploy.roll_back(model, who=who, why=why, revision=before.revision)
        say(store.in_words(changed))
        back = changed.live
    except NotFound:  # no longer warm
        changed, back = None, before.previous or 0
        _start_again(model, back, why, who)
    service = endpoints.announced(model).get((model, back))
    ungranted = grants.ungranted_reason(service) if service is not None else ""
    if ungranted:
        say(
            f"the gate did not grant version {back} ({ungranted}); "
            f"`visionloop release {model} champion` gives the champion the traffic"
        )
    _say_champion(model, before.second or before.live, back, not ungranted, say)
    if changed is not None:
        deploy.follow(changed)


def _start_again(model: str, number: int, why: str, who: str) -> None:
    """Releases the previous version, whose service has been stopped."""
    from flows import steps

    found = _version(model, str(number))
    kept = endpoints.announced(model, retired=True).get((model, number))
    anyway = (kept.anyway if kept else "") or "a rollback to the version before"
    with show_progress():
        steps.release(found, steps.package(found), who=who, why=why, anyway=anyway, back=True)


def _say_champion(model: str, left: int, back: int, granted: bool, say: Say) -> None:
    """What becomes of the registry's champion after a rollback from version `left` to `back`, which the guard does."""
    aliases = champions.aliases(timeout_s=1.0)
    if aliases is None:
        say("the registry's alias goes back once MLflow answers")
        return
    named = aliases.get(model, {})
    if named.get(CHAMPION) == left != back:
        if granted or named.get(PREVIOUS) == back:
            say(f"the guard makes version {back} the registry's champion too, within a minute")
        else:
            say(f"version {left} stays the registry's champion")


def live_now(model: str) -> str:
    """Which version is live, and where to look, in a line."""
    plan = store.plan(model)
    address = f"{settings().router_address}/v1/models/{model}/predict"
    live = f"version {plan.live} at {address}" if plan else "no version"
    return f"live now: {live}; `visionloop release {model} status` shows its requests"


def traffic_of_champion(model: str, champion: int) -> str:
    """Which version is live after version `champion` has become champion, and the next command, in a line."""
    database.migrate()
    plan = store.plan(model)
    if plan is not None and plan.live == champion:
        return live_now(model)
    live = f"version {plan.live}" if plan else "no version"
    return f"live now: {live}; `visionloop release {model}` gives the champion, version {champion}, the traffic"


def _version(model: str, which: str) -> Version:
    from registry.versions.mlflow_registry import Versions

    return Versions().get(model, which)


def _granted(model: str, which: str, anyway: str) -> Version:
    """The version, if the gate granted it or there is a reason. Refuses before anything is packaged."""
    found = _version(model, which)
    grants.check(model, found.number, found.digest, anyway)
    return found
