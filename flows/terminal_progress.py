"""Shows the journal in the terminal: a line per step, and a bar for each step that runs.

Where the output is a file, a step that takes long gets a plain line every `PLAIN_EVERY_S` in place of the bar.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from registry.core import journal

PLAIN_EVERY_S = 30.0
_MARKS = {"done": "[green]✓[/]", "skipped": "[cyan]–[/]", "failed": "[red]✗[/]"}


@dataclass
class _RunningStep:
    """A step that runs. `began`, `shown`: monotonic seconds; `shown`: when its last line was printed."""

    title: str
    bar: TaskID
    began: float
    shown: float
    note: str = ""


class TerminalProgress:
    """Follows one run in the journal from now on: its steps in this process, in DVC's stages and in other flows."""

    def __init__(self, console: Console, run: str) -> None:
        self.console = console
        self._run = run
        self._offset = journal.end_of_file()
        self._running: dict[str, _RunningStep] = {}
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
                if not self.console.is_terminal:
                    self._show_plainly()
            self._read()

    def _read(self) -> None:
        lines, self._offset = journal.read(self._offset)
        for line in lines:
            if line.get("run", "") != self._run:
                continue
            take = {"start": self._start, "progress": self._move, "fact": self._fact, "finish": self._finish}
            take.get(line.get("kind", ""), lambda _: None)(line)

    def _start(self, line: dict[str, Any]) -> None:
        title, now, seconds = line.get("title") or line["step"], time.monotonic(), line.get("usually_s")
        note = f"{line.get('word', 'about')} {seconds:.0f} s" if seconds and seconds >= 1 else ""
        bar = self._progress.add_task(escape(title), total=None, note=note)
        self._running[line["step"]] = _RunningStep(title, bar, now, now)
        if not self.console.is_terminal:
            self._plain(title + (f" ({note})" if note else ""))

    def _move(self, line: dict[str, Any]) -> None:
        running = self._running.get(line["step"])
        if running is not None:
            counted = f"{line['done']:g}/{line['total']:g} {line.get('unit', '')}".rstrip()
            running.note = ", ".join(filter(None, (counted, line.get("note", ""))))
            self._progress.update(running.bar, total=line["total"], completed=line["done"], note=escape(running.note))

    def _show_plainly(self) -> None:
        """A line about each step that has printed none for a while."""
        now = time.monotonic()
        for running in self._running.values():
            if now - running.shown >= PLAIN_EVERY_S:
                running.shown, at_work = now, f"{now - running.began:.0f} s"
                self._plain(f"{running.title}: {', '.join(filter(None, (running.note, at_work)))}")

    def _plain(self, text: str) -> None:
        self.console.print(f"  … {escape(text)}", highlight=False, soft_wrap=True)

    def _fact(self, line: dict[str, Any]) -> None:
        style = "bold red" if (line.get("data") or {}).get("alarm") else "dim"
        self.console.print(f"    [{style}]{escape(str(line.get('text', '')))}[/]", highlight=False)

    def _finish(self, line: dict[str, Any]) -> None:
        running = self._running.pop(line["step"], None)
        if running is not None:
            self._progress.remove_task(running.bar)
        outcome = line.get("outcome", "done")
        note = f"  [dim]{escape(str(line['note']))}[/]" if line.get("note") else ""
        took = "skipped" if outcome == "skipped" else f"{line['seconds']:.1f} s"
        title = escape(running.title if running else line["step"])
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
