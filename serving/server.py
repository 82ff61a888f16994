"""A uvicorn server that leaves in order."""

from __future__ import annotations

import time
from types import FrameType

import uvicorn

from serving.worker import Worker

LEAVING_S = 0.5
"""From the first SIGTERM until no connection is taken any more, for whoever asks /readyz to send requests elsewhere.
Answers in it close their connection, so that no request is on its way on one when it is closed."""


class Server(uvicorn.Server):
    """Leaves in order: says "not ready" first, then takes no connection any more, then finishes what runs."""

    def __init__(self, config: uvicorn.Config, worker: Worker) -> None:
        super().__init__(config)
        self._worker = worker
        self._told: tuple[int, FrameType | None] | None = None
        self._leave_at = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called on SIGTERM and SIGINT; told twice, it leaves at once."""
        if self._told is None:
            self._worker.draining = True
            self._told, self._leave_at = (sig, frame), time.monotonic() + LEAVING_S
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        if self._told is not None and not self.should_exit and time.monotonic() >= self._leave_at:
            super().handle_exit(*self._told)
        return await super().on_tick(counter)
