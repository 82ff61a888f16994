"""What the guard's process does with orders and services, done in a test's own process."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from serving.guard.controller import Controller, Starter
from serving.releases import deploy
from serving.releases.packaging import Version
from serving.releases.plans import Plan
from tests.waiting import until

T = TypeVar("T")


@dataclass(frozen=True)
class Numbered:
    """As much of a registered version as serving needs."""

    model: str
    number: int


def carried_out(ask: Callable[[], T], starter: Starter, router: str | None = None) -> T:
    """What `ask`, which waits for an order, returns or raises; a controller looks until all is settled."""
    controller = Controller(starter, router)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(_with_own_connection, ask)
        while not asked.done():
            controller.look()
            time.sleep(0.02)
    settle(controller)
    return asked.result()


def settle(controller: Controller, within_s: float = 60.0) -> None:
    """Looks until nothing is being started or stopped."""

    def settled() -> bool:
        controller.look()
        return not controller.busy

    until(settled, within_s)


def roll_out(version: Version, tag: str, starter: Starter, router: str | None = None, **more: Any) -> Plan:
    """All traffic for a version, the router following; services that are not wanted any more are stopped."""
    more = {"anyway": "a test", **more}  # nobody asked a gate
    plan = carried_out(lambda: deploy.roll_out(version, tag, **more), starter, router)
    deploy.follow(plan, router)
    return plan


def begin(plan: Plan, version: Version, tag: str, starter: Starter, router: str | None = None) -> Plan:
    """A plan with two versions, the router following."""
    changed = carried_out(lambda: deploy.begin(plan, version, tag, anyway="a test"), starter, router)
    deploy.follow(changed, router)
    return changed


def change(how: Callable[..., Plan], model: str, starter: Starter, router: str, **more: Any) -> Plan:
    """`deploy.promote` or `deploy.roll_back`, the router following; as `roll_out`."""
    plan = how(model, **more)
    deploy.follow(plan, router)
    settle(Controller(starter, router))
    return plan


def _with_own_connection(ask: Callable[[], T]) -> T:
    from django.db import connection

    try:
        return ask()
    finally:
        connection.close()
