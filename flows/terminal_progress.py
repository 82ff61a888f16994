"""Shows the journal in the terminal: a line per step, and a bar for each step that runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from registry.core import journal

_MARKS = {"done": "[green]✓[/]", "skipped": "[cyan]–[/]", "failed": "[red]✗[/]"}


class TerminalProgress:
    """Follows one run in the journal from now on: its steps in this process, in DVC's stages and in other flows."""

    def __init__(self, console: Console, run: str) -> None:
        self.console = console
        self._run = run
        self._offset = journal.end_of_file()
        self._titles: dict[str, str] = {}
        self._bars: dict[str, TaskID] = {}
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            TextColumn("{task.fields[note]}", style="dim"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def follow(self, stop: threading.Event) -> None:
        with self._progress:
            while not stop.wait(0.2):
                self._read()
            self._read()

    def _read(self) -> None:
        lines, self._offset = journal.read(self._offset)
        for line in lines:
            if line.get("run", "") != self._run:
                continue
            take = {"start": self._start, "progress": self._move, "fact": self._fact, "finish": self._finish}
            take.get(line.get("kind", ""), lambda _: None)(line)

    def _start(self, line: dict[str, Any]) -> None:
        step, title = line["step"], line.get("title") or line["step"]
        usually = line.get("usually_s")
        self._titles[step] = title
        note = f"usually {usually:.0f} s" if usually else ""
        self._bars[step] = self._progress.add_task(escape(title), total=None, note=note)
        if not self.console.is_terminal:
            self.console.print(f"  … {escape(title)}" + (f" ({note})" if note else ""))

    def _move(self, line: dict[str, Any]) -> None:
        bar = self._bars.get(line["step"])
        if bar is not None:
            note = f"{line['done']:g}/{line['total']:g} {line.get('unit', '')} {line.get('note', '')}"
            self._progress.update(bar, total=line["total"], completed=line["done"], note=note)

    def _fact(self, line: dict[str, Any]) -> None:
        style = "bold red" if (line.get("data") or {}).get("alarm") else "dim"
        self.console.print(f"    [{style}]{escape(str(line.get('text', '')))}[/]", highlight=False)

    def _finish(self, line: dict[str, Any]) -> None:
        step = line["step"]
        bar = self._bars.pop(step, None)
        if bar is not None:
            self._progress.remove_task(bar)
        outcome = line.get("outcome", "done")
        note = f"  [dim]{escape(str(line['note']))}[/]" if line.get("note") else ""
        took = "skipped" if outcome == "skipped" else f"{line['seconds']:.1f} s"
        title = escape(self._titles.get(step, step))
        self.console.print(f"{_MARKS.get(outcome, '')} {title} [dim]({took})[/]{note}", highlight=False)


@contextmanager
def show_progress(console: Console | None = None) -> Iterator[Console]:
    """Shows progress while the block runs. The block is one run of the journal."""
    screen = console or Console()
    with journal.run() as run:
        stop, progress = threading.Event(), TerminalProgress(screen, run)
        thread = threading.Thread(target=progress.follow, args=(stop,), name="progress", daemon=True)
        thread.start()
        try:
            yield screen
        finally:
            stop.set()
            thread.join(timeout=5)
