"""How a process of the stack that is no server begins and is told to end."""

from __future__ import annotations

import logging
import signal
import threading

from registry.core import database
from registry.core.settings import settings


def begin() -> threading.Event:
    """Returns, when the database has its tables, what is set at SIGTERM; also when that comes before."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    settings().apply_environment()
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    database.wait_until_migrated(ended)
    return ended
