"""The web application's process: gallery, accounts and back office, at `web_port`."""

from __future__ import annotations

import logging

from registry.core import database
from registry.core.priority import lower_priority
from registry.core.settings import is_loopback, settings
from serving.web import configuration
from serving.wire.connections import bounded_protocol, raise_file_limit

logger = logging.getLogger("visionloop.web")

NICE = 5
"""Predictions go first: where processors are short, pages get a third of the time that a service gets."""


def main() -> None:
    """`python -m serving.launchers.web`: serves until SIGTERM; requests at work may finish."""
    import uvicorn

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    settings().apply_environment()
    configuration.setup()
    configuration.no_queries_in_event_loops()
    if not settings().web_url and not is_loopback(settings().host):
        logger.warning("web_url is not set: links in letters begin with the address that a browser asked for")
    database.wait_until_migrated()
    configuration.make_tables()
    from serving.web.app import create_app
    from serving.web.pages import keep_connections

    keep_connections()
    app = create_app()
    lower_priority(NICE)  # from here on: the start itself is not slower

    uvicorn.run(
        app,
        host=settings().host,
        port=settings().web_port,
        log_level="warning",
        access_log=False,
        http=bounded_protocol(raise_file_limit()),
        ws="none",
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=10,
    )


if __name__ == "__main__":
    main()
