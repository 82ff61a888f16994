"""`python -m flows.orchestration.guard`: runs the guard, which looks after this stack's services and release plans.

A change of a plan also changes MLflow: the decision page is attached, an alias goes back. A process of its own does
that, because importing MLflow takes seconds and memory, and changes are rare. It is started again until it succeeds.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

from flows.stack.control import Stack
from registry.core import database, heartbeat
from registry.core.errors import MissingService, VisionloopError, first_line
from registry.core.settings import settings
from serving.guard.rollout import Guard
from serving.launchers.daemon import begin
from serving.releases import history, orders, store

if TYPE_CHECKING:
    from serving.releases.models import ReleaseEvent

PLANS_EVERY_S = 1.0
"""How often the guard looks at the plans."""
TICK_S = 0.25
"""How often it looks for orders, and at services that are starting or stopping."""
RETRY_AFTER_S = (10.0, 60.0, 600.0)
"""Pauses before the next attempts to write to MLflow."""


def main() -> None:
    ended = begin()
    guard = Guard(Stack(), write_registry=Writer().write)
    looked = -PLANS_EVERY_S
    while not ended.wait(TICK_S):
        if time.monotonic() - looked >= PLANS_EVERY_S:
            looked = time.monotonic()
            heartbeat.beat()
            guard.look()
        elif guard.controller.busy or _has_orders():
            guard.look_after_services()


def _has_orders() -> bool:
    try:
        return bool(orders.open_orders())
    except Exception:  # the next look at the plans reports it
        return False


class Writer:
    """Starts the process that writes a change to MLflow, one at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._tries: dict[int, int] = {}
        self._next: dict[int, float] = {}

    def write(self, event: ReleaseEvent) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        if time.monotonic() < self._next.get(event.id, 0.0):
            return
        tries = self._tries[event.id] = self._tries.get(event.id, 0) + 1
        self._next[event.id] = time.monotonic() + RETRY_AFTER_S[min(tries, len(RETRY_AFTER_S)) - 1]
        command = [sys.executable, "-m", "flows.orchestration.guard", str(event.id)]
        self._process = subprocess.Popen(command, env=settings().child_environment())


def write_down(event_id: int) -> None:
    """Attaches a decision page to its version, and removes pages beyond the limit. After a rollback, gives the alias
    back to the version that the traffic returned to."""
    database.setup()
    from flows.steps.pages import prune_pages
    from flows.steps.version import return_alias
    from registry.versions.mlflow_registry import Versions
    from serving.releases.models import ReleaseEvent

    event = ReleaseEvent.objects.filter(id=event_id, todo__isnull=False).first()
    if event is None:
        return
    versions, page = Versions(), settings().var / event.page
    if event.page and event.todo.get("attach"):
        found = versions.get(event.model, event.todo["attach"])
        for path in (page, page.with_suffix(".json")):
            versions.attach(found, path, "decisions")
    if event.page:
        prune_pages(event.model)
    plan = store.plan(event.model)
    if event.todo.get("left") and plan is not None and plan.live == event.live:
        return_alias(event.model, event.todo["left"], event.live)
    history.finished(event_id)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        try:
            write_down(int(sys.argv[1]))
        except VisionloopError as error:
            print(error, file=sys.stderr)
            sys.exit(error.exit_code)
        except Exception as error:
            if not database.is_away(error):
                raise
            print(f"the database does not answer; the guard tries again later: {first_line(error)}", file=sys.stderr)
            sys.exit(MissingService.exit_code)
