"""Threads in which an event loop asks the database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from registry.core import database
from registry.core.errors import MissingService

logger = logging.getLogger("visionloop.serving")

T = TypeVar("T")


class DatabaseThreads:
    """At most `count` threads. Each has a connection to the database, since Django's belong to threads."""

    def __init__(self, count: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(count, thread_name_prefix=name)

    async def run(self, work: Callable[[], T]) -> T:
        """The result of `work`. Raises MissingService when the database does not answer."""

        def connected() -> T:
            from django.db import DatabaseError, InterfaceError  # the first time it takes too long for the event loop

            try:
                database.renew_connection()
                return work()
            except (DatabaseError, InterfaceError) as error:
                logger.warning("the database is away: %s", error)
                raise MissingService(
                    "the database does not answer", expected="a database that does", fix="try again in a moment"
                ) from error

        return await asyncio.get_running_loop().run_in_executor(self._threads, connected)
