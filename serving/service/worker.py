"""The process behind a service: loads one version, admits inputs, and predicts them in threads."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.contract import catalog
from registry.contract.spec import ModelSpec
from registry.core.errors import MissingService, VisionloopError
from registry.core.runtime import default_threads
from registry.core.settings import settings
from registry.versions.bundle import open_bundle
from serving.service.batching import SIZES, BatchingPredictor
from serving.service.version import LoadedVersion
from serving.wire.admission import AdmissionQueue
from serving.wire.call import WATCH_AFTER_S, Outcome, RequestContext, ServedVersion, attach_prediction_id
from serving.wire.deadline import CallDeadline, CallerGone
from serving.wire.negotiation import JPEG, ResponseFormat

if TYPE_CHECKING:
    from monitoring.log.writer import PredictionLog
    from registry.versions.bundle import Manifest
    from serving.tasks.runner import TaskRunner

logger = logging.getLogger("visionloop.serving")

GRACE_S = 1.0
"""After the time limit of a call. Work that watches the time itself gets to say why it ended."""
Gone = Callable[[], "asyncio.Future[None]"]
"""Returns a future that is done when the caller has closed the connection."""


class Worker:
    """Loads a bundle, checks it on its golden samples, then predicts. One per process.

    `start` returns at once, so that the process can already say "not ready" over HTTP. `ready` becomes true when the
    golden samples passed. If they do not, `on_failure` is called with the error.
    """

    def __init__(self, bundle: Path, served: ServedVersion, on_failure: Callable[[Exception], None]) -> None:
        self.served = served
        self.draining = False
        self.on_batch: Callable[[int], None] = lambda size: None
        self.on_ready: Callable[[], None] = lambda: None
        self._bundle = bundle
        self._on_failure = on_failure
        self._started = False
        self._stopped = False
        self._version: LoadedVersion | None = None
        self._tasks: TaskRunner | None = None
        self._cores = settings().threads or default_threads()
        # Pictures are small and one element each, so more of them than cores may be at work: while the network is
        # busy, those that wait for it share its next batch.
        slots = max(self._cores, SIZES[-1]) if JPEG in self.spec.media_in else self._cores
        self.queue = AdmissionQueue(slots, settings().max_waiting, settings().request_timeout_s)
        # Explanations and videos take hundreds of times as long: their pace says nothing about that of pictures.
        self.heavy_queue = AdmissionQueue(self._cores, settings().max_waiting, settings().request_timeout_s)
        self._heavy_pool = ThreadPoolExecutor(self._cores, "predict-heavy")
        self._pool = ThreadPoolExecutor(slots, "predict")

    def start(self) -> None:
        """Begins to load; a second call does nothing."""
        if not self._started:
            self._started = True
            threading.Thread(target=self._load, name="load", daemon=True).start()

    def stop(self) -> None:
        """Lets running calls finish and writes out the log."""
        self._stopped = True
        if self._tasks is not None:
            self._tasks.stop()
        for pool in (self._pool, self._heavy_pool):
            pool.shutdown(cancel_futures=True)
        if self._version is not None:
            self._version.log.close(timeout_s=10)

    @property
    def ready(self) -> bool:
        return self._version is not None and not self._stopped

    @property
    def spec(self) -> ModelSpec:
        return catalog.get(self.served.model)

    @property
    def manifest(self) -> Manifest:
        """Of the bundle. Raises MissingService until the version is loaded."""
        return self._loaded().manifest

    @property
    def log(self) -> PredictionLog | None:
        return self._version.log if self._version else None

    async def example(self) -> dict[str, Any]:
        """The findings in a golden sample, as a JSON answer has them. Raises MissingService."""
        version = self._loaded()
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: version.sample_findings)

    def check_ready(self) -> None:
        """Raises MissingService until the version is loaded."""
        self._loaded()

    def _loaded(self) -> LoadedVersion:
        if self._version is None or self._stopped:
            raise MissingService(
                f"{self.served.model} version {self.served.version} is still being loaded",
                expected="/readyz to answer 200",
                fix="try again in a second",
            )
        return self._version

    def _load(self) -> None:
        from serving.tasks.runner import TaskRunner

        began = time.perf_counter()
        try:
            version, count = self._load_version()
        except Exception as error:
            self._on_failure(error)
            return
        self.on_ready()
        self._version = version
        self._tasks = TaskRunner(version, lambda: self.draining)
        self._tasks.start()
        logger.info(
            "%s version %d is ready: %d golden samples passed, %.1f s after loading began",
            self.served.model,
            self.served.version,
            count,
            time.perf_counter() - began,
        )
        # What is loaded now stays. Collecting garbage in all of it again and again would hold requests up.
        gc.freeze()
        gc.enable()

    def _load_version(self) -> tuple[LoadedVersion, int]:
        """The version, and how many golden samples passed."""
        import cv2

        from monitoring.log.writer import PredictionLog

        cv2.setNumThreads(1)  # its threads spin while they wait, on a core that another request could use
        predictor = BatchingPredictor(
            open_bundle(self._bundle),
            settings().threads,
            settings().max_voxels,
            on_batch=lambda size: self.on_batch(size),
        )
        # All of it before the service is ready: beside it, the first requests of a canary took a second.
        with ThreadPoolExecutor(1) as beside:
            per_core = beside.submit(predictor.compile_per_core)
            count = predictor.check_golden()
            if predictor.choose(per_core.result()):
                # Without batches, more threads than cores would only wait for Python's lock.
                self.queue.slots = min(self.queue.slots, self._cores)
                self._pool = ThreadPoolExecutor(self.queue.slots, "predict")  # the first one has started no thread
        log = PredictionLog(f"{self.served.model}-{self.served.version}")
        log.start()
        return LoadedVersion(self.served, predictor, log), count

    @contextmanager
    def places(self, heavy: Sequence[bool]) -> Iterator[None]:
        """Admits inputs while they wait and are worked on. Raises Overloaded, MissingService.

        Args:
            heavy: of each input, whether it takes many calls of the network: an explanation, or a video.
        """
        self._loaded()
        with self.queue.places(heavy.count(False)), self.heavy_queue.places(heavy.count(True)):
            yield

    async def predict(
        self, body: bytes, wants: ResponseFormat, context: RequestContext, heavy: bool, gone: Gone
    ) -> Outcome:
        """Predicts one input in a thread and logs it. The caller holds one of `places`.

        When the time is over or the caller gone, work that has not begun does not begin; work on a video ends.

        Raises:
            MissingService: not ready yet, or no answer within `request_timeout_s`, waiting included.
            CallerGone: the connection was closed.
            BadInput, UnsupportedMedia, TooLarge: the input's own fault.

        Errors carry the id that they have in the log (`prediction_id_of`).
        """
        version = self._loaded()
        limit_s = settings().request_timeout_s
        deadline = CallDeadline(limit_s)
        pool, queue = (self._heavy_pool, self.heavy_queue) if heavy else (self._pool, self.queue)
        work = partial(version.predict, body, wants, context, deadline)
        call = asyncio.get_running_loop().run_in_executor(pool, work)
        try:
            begin_s = min(WATCH_AFTER_S, limit_s)
            await asyncio.wait((call,), timeout=begin_s)
            if not call.done():
                await _watch(call, deadline, limit_s + GRACE_S - begin_s, gone)
            outcome = await call
        except Exception as error:
            attach_prediction_id(error, deadline.prediction_id)
            raise
        finally:
            call.cancel()  # no effect on work that has begun
        queue.record(outcome.elapsed_ms / 1000)
        return outcome


async def _watch(call: asyncio.Future[Outcome], deadline: CallDeadline, limit_s: float, gone: Gone) -> None:
    """Returns when a call is done, or about to be. Raises MissingService when it takes too long, and CallerGone."""
    left = gone()
    await asyncio.wait((call, left), timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
    if call.done():
        return
    if left.done():
        error: VisionloopError = CallerGone("the caller went away before the answer")
    else:
        error = MissingService(
            f"no answer within {settings().request_timeout_s:g} s",
            expected="an input of a usual size, and a machine that is not overloaded",
            fix="try again, send a smaller input, or submit it to `POST tasks`, which has no time limit",
        )
    if deadline.give_up(error):
        raise error
