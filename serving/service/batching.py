"""Natural batching: inputs that arrive while the network is busy go through it together, next.

No input waits for company: an idle network takes a single input at once. Whether a batch is quicker than its elements
depends on the network, its numerics and the machine, so the size of batches is measured as the service runs. Whether
batches are quicker than a core for each input is measured when it loads (docs/decisions/0022).
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
"""After two calls overlapped, more of them are expected for so long."""
ROUNDS, MIN_GAIN = 5, 1.2
"""Batches must be quicker by this factor in the best of some rounds: for every model tried they were slower."""
_TRIALS = 3
_TRY_AGAIN = 100  # batches until a slower size is tried again: the load of the machine may have changed
_WEIGHT = 0.2


class BatchPace:
    """Measures seconds per element by batch size, and picks the quickest size."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}
        self._trials = dict.fromkeys(SIZES, 0)
        self._chosen = 0

    def best(self, waiting: int) -> int:
        """How many of `waiting` inputs should go together."""
        fitting = [size for size in SIZES if size <= waiting]
        self._chosen += 1
        if self._chosen % _TRY_AGAIN == 0:
            return min(fitting, key=lambda size: self._trials[size])
        for size in reversed(fitting):
            if self._trials[size] < _TRIALS:
                return size
        return min(fitting, key=lambda size: self._seconds[size])

    def record(self, size: int, seconds: float) -> None:
        """Notes that a batch of `size` took `seconds`. The first of a size does not count: it prepares the engine."""
        each = seconds / size
        self._trials[size] += 1
        if self._trials[size] == 1:
            return
        known = self._seconds.get(size, each)
        self._seconds[size] = known + _WEIGHT * (each - known)


class _Waiting:
    """One input on its way through the network. `turn` is set when it is done, or to run the next batch."""

    def __init__(self, batch: FloatArray) -> None:
        self.batch = batch
        self.turn = threading.Event()
        self.outputs: Outputs | None = None
        self.error: BaseException | None = None


class Batcher:
    """Puts the calls of several threads through a network, `lanes()` batches at a time.

    It has no thread of its own: a thread that finds a lane free runs the network, then hands over to the first that
    waits.

    Args:
        on_batch: called with the size of every batch.
    """

    def __init__(
        self,
        network: Network,
        on_batch: Callable[[int], None] = lambda size: None,
        lanes: Callable[[], int] = lambda: 1,
    ) -> None:
        self._network = network
        self._on_batch = on_batch
        self._lanes = lanes
        self._pace = BatchPace()
        self._lock = threading.Lock()
        self._running = 0
        self._line: deque[_Waiting] = deque()

    def __call__(self, batch: FloatArray) -> Outputs:
        """float32 [1, C, H, W] -> outputs, each [1, ...].

        Raises:
            Exception: the error of the network. Each call of a batch gets its own copy, for its prediction id.
        """
        own = _Waiting(batch)
        with self._lock:
            free = self._running < self._lanes()
            if free:
                self._running += 1
            else:
                self._line.append(own)
        if not free:
            own.turn.wait()
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
                one.error = _copy_of(error)
        with self._lock:
            following = self._line.popleft() if self._line else None
            if following is None:
                self._running -= 1
        if following is not None:
            following.turn.set()
        for one in some[1:]:
            one.turn.set()

    def _run(self, some: list[_Waiting]) -> None:
        began = time.perf_counter()
        outputs = self._network(some[0].batch if len(some) == 1 else np.concatenate([one.batch for one in some]))
        self._pace.record(len(some), time.perf_counter() - began)
        self._on_batch(len(some))
        for n, one in enumerate(some):
            one.outputs = {name: value[n : n + 1] for name, value in outputs.items()}


def _copy_of(error: BaseException) -> BaseException:
    """A copy for another call of the batch, without the constructor, whose arguments are not known."""
    other = type(error).__new__(type(error), *error.args)
    other.__dict__.update(error.__dict__)
    other.__cause__ = error
    return other


def seconds_per_element(network: Network, at_once: int, batch: FloatArray) -> float:
    """Seconds per element when `at_once` threads call the network with `batch`."""
    with ThreadPoolExecutor(at_once) as pool:
        began = time.perf_counter()
        list(pool.map(network, [batch] * at_once))
        return (time.perf_counter() - began) / (at_once * len(batch))


class BatchingPredictor(Predictor):
    """A predictor whose calls from several threads share the network in the quicker of two ways.

    A single caller has all cores. Several callers either share batches, or each gets a core of its own and never waits
    for other cores at the end of a layer; for that the network is compiled a second time.

    Args:
        on_batch: called with the size of every batch.
    """

    def __init__(
        self,
        bundle: Bundle,
        threads: int = 0,
        *args: Any,
        on_batch: Callable[[int], None] = lambda size: None,
    ) -> None:
        super().__init__(bundle, threads, *args)
        self.cores = threads or default_threads()
        self._all_cores, self._per_core = self._network, self._network
        self._network = self._run_network
        self._batcher = Batcher(super().run, on_batch, lambda: 1 if self._per_core is self._all_cores else self.cores)
        self._calls, self._lock = 0, threading.Lock()
        self._several_until = 0.0

    def __call__(self, *args: Any, **options: Any) -> Prediction:
        """As `Predictor`."""
        with self._lock:
            self._calls += 1
            if self._calls > 1:
                self._several_until = time.monotonic() + SHARED_FOR_S
        try:
            return super().__call__(*args, **options)
        finally:
            with self._lock:
                self._calls -= 1

    def run(self, batch: FloatArray) -> Outputs:
        """As `Predictor.run`; single elements share batches. Frames of a video come as batches already."""
        return self._batcher(batch) if len(batch) == 1 else super().run(batch)

    def _run_network(self, batch: FloatArray) -> Outputs:
        return self._per_core(batch) if time.monotonic() < self._several_until else self._all_cores(batch)

    def compile_per_core(self) -> Session:
        """The network compiled so that each of several calls has one core. On a single core, the network as it is."""
        if self.cores == 1:
            return self._all_cores
        manifest = self.bundle.manifest
        path = self.bundle.path / manifest.network
        return open_session(path, manifest.engine, manifest.numerics, self.cores, side_by_side=True)

    def choose(self, per_core: Session) -> bool:
        """Measures on this machine which way is quicker for several callers, and keeps it.

        Call it before there are callers: beside them it would measure Python's lock.

        Args:
            per_core: from `compile_per_core`.

        Returns:
            Whether each caller gets a core of its own.
        """
        if self.cores > 1 and self._is_quicker(per_core):
            self._per_core = per_core
        return self._per_core is per_core

    def _is_quicker(self, per_core: Network) -> bool:
        """Whether a core for each caller is quicker than batches."""
        one = np.zeros((1, *self.bundle.manifest.input_shape), np.float32)
        many = np.repeat(one, SIZES[-1], axis=0)
        alone, batched = math.inf, math.inf
        for n in range(ROUNDS):  # in turns: the service that this one replaces may be at work beside it
            alone = min(alone, seconds_per_element(per_core, self.cores, one))
            batched = min(
                batched, seconds_per_element(self._all_cores, 1, one), seconds_per_element(self._all_cores, 1, many)
            )
            if n > 0 and not batched < alone < MIN_GAIN**2 * batched:
                break  # so far from the threshold, further rounds change nothing
        return alone < MIN_GAIN * batched
