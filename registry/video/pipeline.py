"""Runs each step of a chain of generators in its own thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")
_END = object()
_POLL_S = 0.1


def ahead(items: Generator[T, None, None], depth: int, name: str) -> Generator[T, None, None]:
    """Yields `items`, which a thread makes up to `depth` items ahead.

    An exception in `items` is raised here. Closing this generator stops the thread, closes `items` and waits for both:
    in a chain, closing the last step ends all threads. `concurrent.futures` cannot bound how far a generator runs
    ahead.
    """
    waiting: queue.Queue[object] = queue.Queue(depth)
    stopped = threading.Event()

    def offer(item: object) -> bool:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=_POLL_S)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        end: object = _END
        try:
            for item in items:
                if not offer(item):
                    break
        except BaseException as error:  # raised in the thread that consumes
            end = error
        finally:
            try:
                items.close()
            finally:
                offer(end)

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not _END:
            if isinstance(item, BaseException):
                raise item
            yield item  # type: ignore[misc]
    finally:
        stopped.set()
        thread.join()
