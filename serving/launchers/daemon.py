"""The start of a process of the stack that is not a server."""

from __future__ import annotations

import logging
import signal
import threading

from registry.core import database
from registry.core.settings import settings


def begin() -> threading.Event:
    """Waits until the database has its tables. Returns an event that SIGTERM sets, which also ends the wait."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # else a line for each look at the supervisor, every second
    settings().apply_environment()
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    database.wait_until_migrated(ended)
    return ended
