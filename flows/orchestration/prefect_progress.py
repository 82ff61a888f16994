"""Shows a run of the journal in Prefect while a flow runs: its lines as log, and a progress bar per step."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact

from registry.core import journal

UPDATE_EVERY_S = 2.0


class _Follower:
    """Copies the lines of one run from the journal into Prefect."""

    def __init__(self, model: str) -> None:
        self._model, self._run = model, journal.current()
        self._logger = get_run_logger()
        self._offset = journal.end_of_file()
        self._bars: dict[str, UUID] = {}
        self._newest: dict[str, float] = {}

    def follow(self, stop: threading.Event) -> None:
        last = 0.0
        while True:
            ending = stop.is_set()
            lines, self._offset = journal.read(self._offset)
            for line in lines:
                if line.get("run", "") == self._run and line.get("model") == self._model:
                    self._take(line)
            if self._newest and (ending or time.monotonic() - last > UPDATE_EVERY_S):
                last = time.monotonic()
                self._draw()
            if ending:
                return
            stop.wait(0.5)

    def _take(self, line: dict[str, Any]) -> None:
        step = line["step"]
        if line.get("kind") == "progress":
            self._newest[step] = 100.0 * min(1.0, float(line["done"]) / max(float(line["total"]), 1e-9))
        elif line.get("kind") == "fact":
            self._logger.info("%s: %s", step, line.get("text"))
        elif line.get("kind") == "finish":
            self._logger.info("%s %s in %.1f s %s", step, line["outcome"], line["seconds"], line.get("note"))
            if step in self._bars:
                self._newest.setdefault(step, 100.0)

    def _draw(self) -> None:
        for step, share in self._newest.items():
            if step in self._bars:
                update_progress_artifact(self._bars[step], share)
            else:
                key = f"{step}-{self._model}".replace("_", "-")
                found = create_progress_artifact(share, key=key, description=f"{step} of {self._model}")
                assert isinstance(found, UUID), "called outside of an event loop"
                self._bars[step] = found
        self._newest.clear()


@contextmanager
def show_in_prefect(model: str) -> Iterator[None]:
    """Shows the run while the block runs. Use it inside a flow and `journal.run`."""
    stop, follower = threading.Event(), _Follower(model)
    # The run's context lives in context variables: the thread works in a copy of ours.
    context = contextvars.copy_context()
    thread = threading.Thread(target=lambda: context.run(follower.follow, stop), name="journal", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=15)
