"""Steps of a chain of generators, each in a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")
_END = object()
_LOOK_S = 0.1


def ahead(items: Generator[T, None, None], depth: int, name: str) -> Generator[T, None, None]:
    """`items`, made in a thread of its own that is at most `depth` of them in front.

    An exception in `items` is raised here. Closing this one stops the thread, which closes `items`, and waits for it:
    where each step of a chain closes the one before it, no thread is left when the last has been closed.
    """
    waiting: queue.Queue[object] = queue.Queue(depth)
    stopped = threading.Event()

    def offer(item: object) -> bool:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=_LOOK_S)
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
        except BaseException as error:  # handed over to the thread that asks
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
