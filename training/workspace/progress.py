"""Progress of a stage: a bar when a person is looking, journal lines always."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from registry.core import journal
from registry.core.progress_bar import Show, progress_bar

EVERY_S = 0.5  # a journal line; readers poll no faster


class Bar:
    """Call it with (done, total, note)."""

    def __init__(self, step: str, model: str, unit: str, show: Show) -> None:
        self.step, self.model, self.unit = step, model, unit
        self._show, self._last = show, 0.0

    def __call__(self, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if now - self._last >= EVERY_S or done >= total:
            self._last = now
            journal.progress(self.step, done, total, self.unit, note, self.model)
            self._show(done, total, note)


@contextmanager
def bar(step: str, title: str, model: str, unit: str = "steps") -> Iterator[Bar]:
    """A bar on stderr when it is a terminal."""
    with progress_bar(title) as show:
        yield Bar(step, model, unit, show)
