"""Progress of a stage: a bar when a person is looking, journal lines always."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from registry.core import journal
from registry.core.progress_bar import progress_bar

EVERY_S = 0.5  # a journal line; readers poll no faster


@contextmanager
def bar(step: str, title: str, model: str, unit: str = "steps") -> Iterator[Callable[[int, int, str], None]]:
    """A bar on stderr when it is a terminal. Call what it gives with (done, total, note)."""
    last = 0.0
    with progress_bar(title) as show:

        def on_progress(done: int, total: int, note: str = "") -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= EVERY_S or done >= total:
                last = now
                journal.progress(step, done, total, unit, note, model)
                show(done, total, note)

        yield on_progress
