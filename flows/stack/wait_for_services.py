"""`python -m flows.stack.wait_for_services`: waits, after `up`, until the services of the release plans answer.

The guard starts these services. The supervisor runs this once, so that `visionloop up` shows which of them come up.
"""

from __future__ import annotations

import sys
import time

from registry.core import database
from registry.core.settings import settings
from serving.releases import deploy, endpoints, store
from serving.releases.endpoints import Endpoint

WITHIN_S = 150.0
"""A service compiles its network and checks its golden samples before it is ready. Busy cores make that slow."""
EVERY_S = 0.2


def wanted() -> list[Endpoint]:
    """The services of the release plans, whether or not they run."""
    known = endpoints.announced(retired=True)
    versions = ((plan.model, v) for plan in store.plans() for v in (plan.live, plan.second) if v)
    return [known[one] for one in versions if one in known]


def wait() -> int:
    """Waits for the services, and prints where each answers or why it does not. Returns how many are missing."""
    began = time.monotonic()
    for one in wanted():
        endpoints.note_problem(one.model, one.version, "")  # forgets the problems of an earlier start
    printed: set[str] = set()
    while True:
        missing = []
        for one in wanted():
            line = f"version {one.version} of {one.model} could not be started: {one.problem}"
            if not one.problem and not one.retired and deploy.is_ready(one):
                line = f"{one.model} version {one.version} answers at {one.url}"
            else:
                missing.append(one)
            if line not in printed and (one.problem or one not in missing):
                printed.add(line)
                print(line, flush=True)
        if all(one.problem for one in missing):
            return len(missing)
        if time.monotonic() - began > WITHIN_S:
            for one in missing:
                print(f"version {one.version} of {one.model} does not answer after {WITHIN_S:g} s", file=sys.stderr)
            print("the guard starts the services: `visionloop logs guard`", file=sys.stderr)
            return len(missing)
        time.sleep(EVERY_S)


def main() -> int:
    """Waits for the database, then for the services. Returns how many are missing."""
    while True:
        database.wait_until_migrated()
        try:
            return wait()
        except Exception as error:  # each driver has its own class
            if not database.is_away(error):
                raise
            print(f"the database is away again: {error}", file=sys.stderr)


if __name__ == "__main__":
    settings().apply_environment()
    sys.exit(min(main(), 100))
