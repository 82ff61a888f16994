"""One progress bar for the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Show = Callable[[float, float, str], None]
"""Called with (done, total, note)."""


@contextmanager
def progress_bar(title: str, *, lines: bool = False) -> Iterator[Show]:
    """Yields a function that shows how far the work is. Several threads may call it.

    A terminal gets a bar on stderr. Without a terminal, `lines` prints a line for each tenth of the work.
    """
    if not (lines or sys.stderr.isatty()):
        yield lambda done, total, note: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    note_column = TextColumn("{task.fields[note]}", style="dim")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), note_column)
    drawn = Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip
    with drawn:
        task = drawn.add_task(title, total=None, note="")
        tenths = 0

        def show(done: float, total: float, note: str) -> None:
            nonlocal tenths
            drawn.update(task, completed=done, total=total, note=note)
            reached = int(10 * done / total) if total else 0
            if reached > tenths and not console.is_terminal:
                tenths = reached
                console.print(f"{title}: {done:g}/{total:g} {note}".rstrip(), highlight=False, soft_wrap=True)

        yield show
