"""Natural batching: what asked for the network while it was busy goes through it together, next.

Nothing ever waits for company: an idle network takes a single input at once. How many go together is measured as it
runs, since whether a batch is quicker than its elements depends on the network, its numerics and the machine; and so
does whether batches are quicker than a core for each input.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from typing import Any

import numpy as np

from registry.core.media import FloatArray, Prediction
from registry.core.runtime import Session, default_threads, open_session
from registry.versions.bundle import Bundle
from registry.versions.predictor import Predictor

Outputs = dict[str, FloatArray]
Network = Callable[[FloatArray], Outputs]

SIZES = (1, 2, 4, 8)
SHARED_FOR_S = 1.0
"""Callers that came at once are expected again for so long. Threads that have shared a call spin a while after it."""
ROUNDS, CLEARLY = 5, 1.2
"""Batches must be clearly quicker in the best of some rounds: for every model tried they were slower."""
_TRIALS = 3
_LOOK_AGAIN = 100  # batches, until a size that lost is tried again: the machine's load may have changed
_WEIGHT = 0.2


class BatchPace:
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
    """One input on its way through the network; `turn` comes when it is done, or is to take the next batch along."""

    def __init__(self, batch: FloatArray) -> None:
        self.batch = batch
        self.turn = threading.Lock()  # an Event would be three of them
        self.turn.acquire()
        self.outputs: Outputs | None = None
        self.error: BaseException | None = None


class Batcher:
    """Puts the calls of several threads through a network, `lanes()` batches at a time.

    There is no thread of its own: who finds a lane free runs the network, and hands over to the first that waits.
    """

    def __init__(
        self,
        network: Network,
        ran: Callable[[int], None] = lambda size: None,
        lanes: Callable[[], int] = lambda: 1,
    ) -> None:
        self._network = network
        self._ran = ran
        self._lanes = lanes
        self._pace = BatchPace()
        self._lock = threading.Lock()
        self._running = 0
        self._line: deque[_Waiting] = deque()

    def __call__(self, batch: FloatArray) -> Outputs:
        """float32 [1, C, H, W] -> outputs, each [1, ...].

        Raises:
            Exception: what the network raised. Each call has one of its own, to note its id on.
        """
        own = _Waiting(batch)
        with self._lock:
            free = self._running < self._lanes()
            if free:
                self._running += 1
            else:
                self._line.append(own)
        if not free:
            own.turn.acquire()
        if own.outputs is None and own.error is None:
            self._lead(own)
        if own.error is not None:
            raise own.error
        assert own.outputs is not None
        return own.outputs

    def _lead(self, own: _Waiting) -> None:
        with self._lock:
            alike = 1 + sum(1 for _ in takewhile(lambda one: one.batch.shape == own.batch.shape, self._line))
            some = [own, *(self._line.popleft() for _ in range(self._pace.best(alike) - 1))]
        try:
            self._run(some)
        except BaseException as error:
            own.error = error
            for one in some[1:]:
                one.error = _another(error)
        with self._lock:
            following = self._line.popleft() if self._line else None
            if following is None:
                self._running -= 1
        if following is not None:
            following.turn.release()
        for one in some[1:]:
            one.turn.release()

    def _run(self, some: list[_Waiting]) -> None:
        began = time.perf_counter()
        outputs = self._network(some[0].batch if len(some) == 1 else np.concatenate([one.batch for one in some]))
        self._pace.took(len(some), time.perf_counter() - began)
        self._ran(len(some))
        for n, one in enumerate(some):
            one.outputs = {name: value[n : n + 1] for name, value in outputs.items()}


def _another(error: BaseException) -> BaseException:
    """The same error once more, for another call of the batch. Nobody knows what its constructor takes."""
    other = type(error).__new__(type(error), *error.args)
    other.__dict__.update(error.__dict__)
    other.__cause__ = error
    return other


def seconds_per_element(network: Network, at_once: int, batch: FloatArray) -> float:
    """Seconds per element of `at_once` calls with `batch`, each in a thread."""
    with ThreadPoolExecutor(at_once) as pool:
        began = time.perf_counter()
        list(pool.map(network, [batch] * at_once))
        return (time.perf_counter() - began) / (at_once * len(batch))


class BatchingPredictor(Predictor):
    """A predictor whose calls from several threads share the network, in whichever way answers more of them.

    One caller at a time has all cores. Several either go through the network in batches, or each gets a core of its own
    and never waits for other cores at the end of a layer; for that the network is compiled a second time.

    Args:
        ran: told the size of every batch.
    """

    def __init__(
        self,
        bundle: Bundle,
        threads: int = 0,
        *args: Any,
        ran: Callable[[int], None] = lambda size: None,
    ) -> None:
        super().__init__(bundle, threads, *args)
        self.cores = threads or default_threads()
        self._together, self._own = self._network, self._network
        self._network = self._either
        self._batcher = Batcher(super().run, ran, lambda: 1 if self._own is self._together else self.cores)
        self._inside, self._lock = 0, threading.Lock()
        self._several_until = 0.0

    def __call__(self, *args: Any, **options: Any) -> Prediction:
        """As `Predictor`."""
        with self._lock:
            self._inside += 1
            if self._inside > 1:
                self._several_until = time.monotonic() + SHARED_FOR_S
        try:
            return super().__call__(*args, **options)
        finally:
            with self._lock:
                self._inside -= 1

    def run(self, batch: FloatArray) -> Outputs:
        """As `Predictor.run`; single elements together. Frames of a video and the like are batches already."""
        return self._batcher(batch) if len(batch) == 1 else super().run(batch)

    def _either(self, batch: FloatArray) -> Outputs:
        return self._own(batch) if time.monotonic() < self._several_until else self._together(batch)

    def core_for_each(self) -> Session:
        """The network as several callers may get it: compiled for a core each. On one core it is that there is."""
        if self.cores == 1:
            return self._together
        manifest = self.bundle.manifest
        path = self.bundle.path / manifest.network
        return open_session(path, manifest.engine, manifest.numerics, self.cores, side_by_side=True)

    def choose(self, own: Session) -> bool:
        """Finds out, on this machine, what is quicker for several callers; returns whether it is `core_for_each`.

        Call it before there are any: beside them it would measure Python's lock.
        """
        if self.cores > 1 and self._wins(own):
            self._own = own
        return self._own is own

    def _wins(self, own: Network) -> bool:
        """Whether a core for each is quicker."""
        one = np.zeros((1, *self.bundle.manifest.input_shape), np.float32)
        many = np.repeat(one, SIZES[-1], axis=0)
        alone, batched = math.inf, math.inf
        for n in range(ROUNDS):  # in turns: the service that is to be replaced may be at work beside this one
            alone = min(alone, seconds_per_element(own, self.cores, one))
            batched = min(
                batched, seconds_per_element(self._together, 1, one), seconds_per_element(self._together, 1, many)
            )
            if n > 0 and not batched < alone < CLEARLY**2 * batched:
                break  # that far from the threshold, further rounds change nothing
        return alone < CLEARLY * batched
