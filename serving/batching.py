"""Natural batching: what asked for the network while it was busy goes through it together, next.

Nothing ever waits for company: an idle network takes a single input at once. How many go together is measured as it
runs, since whether a batch is quicker than its elements depends on the network, its numerics and the machine.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import takewhile
from typing import Any

import numpy as np

from registry.media import FloatArray
from registry.predictor import Predictor

Outputs = dict[str, FloatArray]
Network = Callable[[FloatArray], Outputs]

SIZES = (1, 2, 4, 8)
_TRIALS = 3
_LOOK_AGAIN = 100  # batches, until a size that lost is tried again: the machine's load may have changed
_WEIGHT = 0.2


class Pace:
    """Seconds per element by batch size, and which size is the quickest."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}
        self._trials = dict.fromkeys(SIZES, 0)
        self._chosen = 0

    def best(self, waiting: int) -> int:
        """How many of `waiting` inputs should go together."""
        fitting = [size for size in SIZES if size <= waiting]
        self._chosen += 1
        if self._chosen % _LOOK_AGAIN == 0:
            return min(fitting, key=lambda size: self._trials[size])
        for size in reversed(fitting):
            if self._trials[size] < _TRIALS:
                return size
        return min(fitting, key=lambda size: self._seconds[size])

    def took(self, size: int, seconds: float) -> None:
        """A batch of `size` took `seconds` in all. The first of a size also prepares the engine for it: not counted."""
        each = seconds / size
        self._trials[size] += 1
        if self._trials[size] == 1:
            return
        known = self._seconds.get(size, each)
        self._seconds[size] = known + _WEIGHT * (each - known)


class _Waiting:
    """One input on its way through the network; `turn` is set when it is done, or is to take the next batch along."""

    def __init__(self, batch: FloatArray) -> None:
        self.batch = batch
        self.turn = threading.Event()
        self.outputs: Outputs | None = None
        self.error: BaseException | None = None


class Batcher:
    """Puts the calls of several threads through a network, one batch at a time.

    There is no thread of its own: the first to come runs the network, and hands over to the first that waits.
    """

    def __init__(self, network: Network, ran: Callable[[int], None] = lambda size: None) -> None:
        self._network = network
        self._ran = ran
        self._pace = Pace()
        self._lock = threading.Lock()
        self._busy = False
        self._line: deque[_Waiting] = deque()

    def __call__(self, batch: FloatArray) -> Outputs:
        """float32 [1, C, H, W] -> outputs, each [1, ...]. Raises what the network raises."""
        own = _Waiting(batch)
        with self._lock:
            self._line.append(own)
            first = not self._busy
            self._busy = True
        if not first:
            own.turn.wait()
        if own.outputs is None and own.error is None:
            self._lead(own)
        if own.error is not None:
            raise own.error
        assert own.outputs is not None
        return own.outputs

    def _lead(self, own: _Waiting) -> None:
        with self._lock:
            alike = sum(1 for _ in takewhile(lambda one: one.batch.shape == own.batch.shape, self._line))
            some = [self._line.popleft() for _ in range(self._pace.best(alike))]
        assert some[0] is own
        try:
            self._run(some)
        except BaseException as error:
            for one in some:
                one.error = error
        with self._lock:
            following = self._line[0] if self._line else None
            self._busy = following is not None
        if following is not None:
            following.turn.set()
        for one in some[1:]:
            one.turn.set()

    def _run(self, some: list[_Waiting]) -> None:
        began = time.perf_counter()
        outputs = self._network(some[0].batch if len(some) == 1 else np.concatenate([one.batch for one in some]))
        self._pace.took(len(some), time.perf_counter() - began)
        self._ran(len(some))
        for n, one in enumerate(some):
            one.outputs = {name: value[n : n + 1] for name, value in outputs.items()}


class BatchingPredictor(Predictor):
    """A predictor whose calls from several threads share the network.

    Args:
        ran: told the size of every batch.
    """

    def __init__(self, *args: Any, ran: Callable[[int], None] = lambda size: None, **options: Any) -> None:
        super().__init__(*args, **options)
        self._batcher = Batcher(super().run, ran)

    def run(self, batch: FloatArray) -> Outputs:
        """As `Predictor.run`; single elements together. Frames of a video and the like are batches already."""
        return self._batcher(batch) if len(batch) == 1 else super().run(batch)
