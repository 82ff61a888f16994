"""`python -m serving.launchers.keeper`: brings what services logged from disk into the database, and removes what is
too old.

One for all services of a machine, which so have nothing to do but to answer (docs/decisions/0026-a-keeper.md); the
supervisor keeps it running. While it is away lines wait on disk.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress

from monitoring.log import inputs, retention
from monitoring.log.shipping import EVERY_S, Shipper
from monitoring.log.spool import folder
from serving.launchers.daemon import begin
from serving.tasks import store

PRUNE_EVERY_S = 60.0
LEAVING_S = 5.0
"""Services that end at the same time hand over their last lines meanwhile; what comes later waits for the next one."""

logger = logging.getLogger("visionloop.keeper")


def main() -> None:
    ended = begin()
    shipper, prune_at = Shipper(), 0.0
    while not ended.wait(shipper.pause_s):
        shipper.look()
        if time.monotonic() >= prune_at:
            prune_at = time.monotonic() + PRUNE_EVERY_S
            prune()
    leave_by = time.monotonic() + LEAVING_S
    shipper.look()
    while next(folder().glob("*.jsonl"), None) is not None and time.monotonic() < leave_by:
        time.sleep(EVERY_S)
        shipper.look()


def prune() -> None:
    """Removes what is older, or takes more room, than the settings allow: inputs, tasks, reports, predictions, logs."""
    with suppress(OSError):
        inputs.prune(every_s=0.9 * PRUNE_EVERY_S)
    for what in (store.prune, retention.prune):
        try:
            what()
        except Exception as error:  # the database's troubles pass
            logger.info("not everything is looked through for what is too old: %s", error)


if __name__ == "__main__":
    main()
