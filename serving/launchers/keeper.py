"""`python -m serving.launchers.keeper`: moves logged predictions from disk into the database, deletes what is old,
and calls the webhooks of tasks.

There is one for all services of a machine, which so only answer (docs/decisions/0026-a-keeper.md). The supervisor
keeps it running; while it is away lines wait on disk.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress

from monitoring.log import inputs, retention
from monitoring.log.shipping import EVERY_S, Shipper
from monitoring.log.spool import folder
from registry.core import heartbeat
from serving.idempotency import store as keyed_requests
from serving.launchers.daemon import begin
from serving.operations import import_files
from serving.tasks import store
from serving.webhooks import store as webhooks
from serving.webhooks.sender import Sender

PRUNE_EVERY_S = 60.0
LEAVING_S = 5.0
"""How long it waits for the last lines of services that end at the same time. Later ones wait for the next keeper."""

logger = logging.getLogger("visionloop.keeper")


def main() -> None:
    ended = begin()
    shipper, prune_at = Shipper(), 0.0
    Sender(ended).start()
    while not ended.wait(shipper.pause_s):
        heartbeat.beat()
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
    """Deletes inputs, tasks, zips, reports, predictions and logs that are older, or larger, than the settings allow."""
    with suppress(OSError):
        inputs.prune(every_s=0.9 * PRUNE_EVERY_S)
    for what in (store.prune, import_files.prune, retention.prune, keyed_requests.prune, webhooks.prune):
        try:
            what()
        except Exception as error:  # it is tried again in a minute
            logger.info("old data could not all be deleted: %s", error)


if __name__ == "__main__":
    main()
