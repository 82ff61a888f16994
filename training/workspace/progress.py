"""Progress of a stage: a bar when a person is looking, journal lines always."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from registry.core import journal

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

EVERY_S = 0.5  # a journal line; readers poll no faster


class Bar:
    """Call it with (done, total, note)."""

    def __init__(self, step: str, model: str, unit: str) -> None:
        self.step, self.model, self.unit = step, model, unit
        self.shown: tuple[Progress, TaskID] | None = None
        self._last = 0.0

    def __call__(self, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if now - self._last >= EVERY_S or done >= total:
            self._last = now
            journal.progress(self.step, done, total, self.unit, note, self.model)
            if self.shown is not None:
                bar, task = self.shown
                bar.update(task, completed=done, total=total, note=note)


@contextmanager
def bar(step: str, title: str, model: str, unit: str = "steps") -> Iterator[Bar]:
    """A bar on stderr when it is a terminal."""
    made = Bar(step, model, unit)
    if not sys.stderr.isatty():
        yield made
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        made.shown = (shown, shown.add_task(title, total=1, note=""))
        yield made
