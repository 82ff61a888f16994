"""Promotion and rollback as people ask for them: told in the journal, and done once the router has followed.

They start no service, so that they take no longer than the router. The command line and the back office use them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from registry.core import journal
from serving.releases import deploy, orders, store
from serving.releases.orders import Say
from serving.releases.plans import Plan


def promote(
    model: str,
    *,
    who: str = "",
    why: str = "",
    anyway: str = "",
    revision: int | None = None,
    say: Say = orders.ignore,
) -> Plan:
    """Gives all traffic to the second version. Raises as `deploy.promote` and `deploy.follow`."""
    with journal.run(), journal.step("release", "Release", model) as running:
        changed = deploy.promote(model, who=who, why=why, anyway=anyway, revision=revision)
        running.note = f"version {changed.live} gets all the traffic" + (f": {changed.why}" if changed.why else "")
        say(store.in_words(changed))
        deploy.follow(changed)
    return changed


def roll_back(model: str, *, who: str = "", why: str = "", revision: int | None = None) -> Plan:
    """Ends a trial, or gives the traffic back to a previous version that is warm.

    Raises as `deploy.roll_back` and `deploy.follow`; the former NotFound where it is not warm.
    """
    with rollback_step(model, why):
        changed = deploy.roll_back(model, who=who, why=why, revision=revision)
        deploy.follow(changed)
    return changed


@contextmanager
def rollback_step(model: str, why: str) -> Iterator[None]:
    """Tells of a rollback, which the block does, in the journal."""
    before = store.plan(model)
    with journal.run(), journal.step("rollback", "Roll back", model) as running:
        yield
        running.note = _rolled_back(before, store.plan(model)) + (f": {why}" if why else "")


def _rolled_back(before: Plan | None, now: Plan | None) -> str:
    live = now.live if now else 0
    if before is not None and before.second is not None:
        return f"rolled back: version {before.second} gets no more traffic, version {live} keeps it"
    gone = f", version {before.live} no longer" if before else ""
    return f"rolled back: version {live} gets the traffic again{gone}"
