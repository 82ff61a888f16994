"""`python -m flows.guard`: looks after the release plans of this stack; the supervisor keeps it running.

What a change leaves in MLflow (the decision page, the alias that goes back) is written by a process of its own: MLflow
takes seconds to import and memory to hold, and changes are rare.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from flows.stack.control import Stack
from registry.errors import VisionloopError
from registry.settings import settings
from serving.guard import Guard
from serving.plans import Plan
from serving.standing import begin

EVERY_S = 1.0


def main() -> None:
    ended = begin()
    guard = Guard(Stack(), told=remember)
    while not ended.wait(EVERY_S):
        guard.look()


def remember(before: Plan, after: Plan, page: Path | None) -> None:
    """Starts writing into MLflow what a change leaves there."""
    rolled_back = after.state == "rolled_back"
    if page is not None or rolled_back:
        command = [sys.executable, "-m", "flows.guard", before.model, str(before.challenger)]
        command += [str(after.champion if rolled_back else 0), str(page or "")]
        subprocess.Popen(command, env=settings().child_environment())


def write_down(model: str, challenger: int, returned_to: int, page: Path | None) -> None:
    """Attaches a decision page to a version; gives the alias back to the version that a rollback returned to."""
    from flows.steps.version import return_alias
    from registry.versions import Versions

    versions = Versions()
    if page is not None:
        found = versions.get(model, challenger)
        for path in (page, page.with_suffix(".json")):
            versions.attach(found, path, "decisions")
    if returned_to:
        return_alias(model, challenger, returned_to)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        try:
            write_down(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]) if sys.argv[4] else None)
        except VisionloopError as error:
            print(error, file=sys.stderr)
            sys.exit(error.exit_code)
