"""Threads that an event loop gives work to.

`concurrent.futures` does the same with a lock, a condition and two futures chained for each call, and cannot go on with
fewer threads (docs/decisions/0023-threads-of-our-own.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar

Result = TypeVar("Result")
Given = tuple["asyncio.Future[Any]", Callable[[], Any]]


class Pool:
    """`count` threads, started at once."""

    def __init__(self, count: int, name: str) -> None:
        self._given: SimpleQueue[Given | None] = SimpleQueue()
        self._count, self._lock = count, Lock()
        self._threads = [Thread(target=self._work, name=f"{name}-{n}", daemon=True) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def submit(self, work: Callable[[], Result]) -> asyncio.Future[Result]:
        """What `work` will return or raise. Work that was cancelled before it began does not begin.

        Call it from an event loop; after `stop` the future is never done.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._given.put((future, work))
        return future

    def narrow(self, count: int) -> None:
        """Goes on with `count` threads; those beyond end after what they are working on."""
        with self._lock:
            for _ in range(self._count - count):
                self._given.put(None)
            self._count = min(self._count, count)

    def stop(self) -> None:
        """Cancels what has not begun, and waits for what has."""
        with suppress(Empty):
            while True:
                if (given := self._given.get_nowait()) is not None:
                    _tell(given[0], given[0].cancel)
        for _ in self._threads:
            self._given.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (given := self._given.get()) is not None:
            future, work = given
            if future.done():
                continue
            try:
                result = work()
            except BaseException as error:
                _tell(future, _settle, future, error, future.set_exception)
            else:
                _tell(future, _settle, future, result, future.set_result)
            del given, future, work  # an idle thread must not hold the last input in memory


def _tell(future: asyncio.Future[Any], what: Callable[..., Any], *arguments: Any) -> None:
    with suppress(RuntimeError):  # the loop has ended: nobody waits any more
        future.get_loop().call_soon_threadsafe(what, *arguments)


def _settle(future: asyncio.Future[Any], outcome: Any, settle: Callable[[Any], None]) -> None:
    if not future.done():  # its caller may have gone
        settle(outcome)
