"""Serves a Bento in one process, for a supervisor that restarts it.

`bentoml serve TAG` starts an arbiter and a worker: two interpreters, and an orphan when the arbiter is killed. Here one
process starts, serves, ends with a meaningful exit status, and dies by `kill -9`. BentoML is not imported: a service
uses three probes of its runtime, and a start would take twice as long.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from registry.core.priority import LowPriority
from registry.core.settings import ignore_unknown, settings
from serving.service.bento import api_of, worker_of

KEEP_ALIVE_S = 75
"""Longer than the router's (serving.launchers.router), so that only the router closes idle connections."""
DRAIN_S = 30


def main(folder: Path) -> None:
    """Serves the Bento whose source folder is `folder` until SIGTERM."""
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("visionloop").setLevel(logging.INFO)
    ignore_unknown()
    parser = argparse.ArgumentParser(description="Serves one model version.")
    parser.add_argument("--host", default=settings().service_host)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    priority = LowPriority()  # services that answer now go first, e.g. the one that this one replaces
    worker = worker_of(folder)
    worker.on_ready = priority.restore
    worker.start()  # the network compiles while the rest is imported

    import uvicorn

    from serving.service.http_server import Server, standalone
    from serving.wire.connections import bounded_protocol, raise_file_limit

    config = uvicorn.Config(
        standalone(api_of(folder), worker),
        host=options.host,
        port=options.port,
        http=bounded_protocol(raise_file_limit()),
        log_config=None,
        access_log=False,  # the prediction log has every request
        ws="none",  # there are no web sockets, and their library takes time to load
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=DRAIN_S,
    )
    Server(config, worker).run()
