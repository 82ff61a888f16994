"""The work behind a service: one loaded version, its threads, and the log of what it predicted."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.contract import catalog
from registry.contract.spec import ModelSpec
from registry.core.errors import BadInput, MissingService, VisionloopError
from registry.core.media import OnProgress, Prediction
from registry.core.runtime import default_threads
from registry.core.settings import settings
from registry.versions.bundle import open_bundle
from registry.versions.predictor import Predictor
from registry.vision import media_types
from serving.service.batching import SIZES, BatchingPredictor
from serving.wire.admission import AdmissionQueue
from serving.wire.call import WATCH_AFTER_S, Outcome, RequestContext, ServedVersion, attach_prediction_id
from serving.wire.deadline import CallDeadline, CallerGone
from serving.wire.negotiation import JPEG, JSON, ResponseFormat
from serving.wire.thread_pools import Pool

if TYPE_CHECKING:
    from monitoring.log.writer import PredictionLog
    from registry.versions.bundle import Manifest
    from registry.versions.explain import Explanation
    from serving.tasks.runner import TaskRunner

logger = logging.getLogger("visionloop.serving")

GRACE_S = 1.0
"""So that work which watches the time itself is the one to say why it ended."""
Gone = Callable[[], "asyncio.Future[None]"]
"""Gives what is done when the caller has closed the connection."""


def _given_up(watch: OnProgress) -> VisionloopError | None:
    """What the caller has got already; None, and it cannot be any more, if nothing."""
    return watch.given_up if isinstance(watch, CallDeadline) and not watch.settle() else None


class Worker:
    """Loads a bundle, proves it on its golden samples, then answers. One per process.

    `start` returns at once, so that the process can already say "not ready" over HTTP; `ready` becomes
    true when the golden samples passed. If they do not, `on_failure` is called with the error.
    """

    def __init__(self, bundle: Path, served: ServedVersion, on_failure: Callable[[Exception], None]) -> None:
        self.served = served
        self.ready = False
        self.draining = False
        self._started = False
        self._bundle = bundle
        self._on_failure = on_failure
        self._predictor: Predictor | None = None
        self.log: PredictionLog | None = None
        self._tasks: TaskRunner | None = None
        self._findings: dict[str, Any] | None = None
        self.on_batch: Callable[[int], None] = lambda size: None
        self.on_ready: Callable[[], None] = lambda: None
        # As many calls at once as there are cores: one decodes while the network of another runs. Pictures are small
        # and one element each, so more of them may be under way: those that wait for the network may share its next
        # batch, until batches turn out to be the slower way (`_narrow`).
        self._cores = cores = settings().threads or default_threads()
        slots = max(cores, SIZES[-1]) if JPEG in self.spec.media_in else cores
        self._pool = Pool(slots, "predict")
        self._heavy = Pool(cores, "predict-heavy")
        self.line = AdmissionQueue(slots, settings().max_waiting, settings().request_timeout_s)
        # What takes hundreds of times as long has a line of its own: its pace says nothing about that of pictures.
        self.heavy_line = AdmissionQueue(cores, settings().max_waiting, settings().request_timeout_s)

    def start(self) -> None:
        """Begins to load; a second call does nothing."""
        if not self._started:
            self._started = True
            threading.Thread(target=self._load, name="load", daemon=True).start()

    def stop(self) -> None:
        """Lets running calls finish and writes out the log."""
        self.ready = False
        if self._tasks is not None:
            self._tasks.stop()
        for pool in (self._pool, self._heavy):
            pool.stop()
        if self.log is not None:
            self.log.close(timeout_s=10)

    @property
    def spec(self) -> ModelSpec:
        return catalog.get(self.served.model)

    @property
    def manifest(self) -> Manifest:
        """Of the bundle. Raises MissingService as long as it is being loaded."""
        self.check_ready()
        assert self._predictor is not None
        return self._predictor.bundle.manifest

    async def example(self) -> dict[str, Any]:
        """The findings on a golden sample, as the JSON answer has them. Raises MissingService."""
        self.check_ready()
        return await self._pool.submit(self._example)

    def _example(self) -> dict[str, Any]:
        assert self._predictor is not None
        if self._findings is None:
            sample = (self._predictor.bundle.samples[0] / "input").read_bytes()
            self._findings = self._predictor(sample).result.to_json()
        return self._findings

    def _load(self) -> None:
        import cv2

        from monitoring.log.writer import PredictionLog
        from serving.tasks.runner import TaskRunner

        began = time.perf_counter()
        cv2.setNumThreads(1)  # its own wait for work by spinning, on a core that another request could use
        try:
            predictor = BatchingPredictor(
                open_bundle(self._bundle),
                settings().threads,
                settings().max_voxels,
                ran=lambda size: self.on_batch(size),
            )
            # All of it before it is ready: beside it a canary's first requests took a second.
            with ThreadPoolExecutor(1) as beside:
                own = beside.submit(predictor.core_for_each)
                count = predictor.check_golden()
                if predictor.choose(own.result()):
                    self._narrow()
            log = PredictionLog(f"{self.served.model}-{self.served.version}")
            log.start()
        except Exception as error:
            self._on_failure(error)
            return
        self._predictor, self.log = predictor, log
        self.on_ready()
        self.ready = True
        self._tasks = TaskRunner(self)
        self._tasks.start()
        logger.info(
            "%s version %d is ready: %d golden samples passed, %.1f s after loading began",
            self.served.model,
            self.served.version,
            count,
            time.perf_counter() - began,
        )
        # What is loaded now stays. Looking for garbage in all of it again and again would hold requests up.
        gc.freeze()
        gc.enable()

    def _narrow(self) -> None:
        """A thread for each core, because nobody waits for a batch: more of them would only wait for Python's lock."""
        self._pool.narrow(self._cores)
        self.line.slots = min(self.line.slots, self._cores)

    def check_ready(self) -> None:
        """Raises MissingService while the version is being loaded."""
        if not self.ready:
            raise MissingService(
                f"{self.served.model} version {self.served.version} is still being loaded",
                expected="/readyz to answer 200",
                fix="try again in a second",
            )

    @contextmanager
    def places(self, inputs: Iterable[bytes], wants: ResponseFormat) -> Iterator[None]:
        """Room for inputs while they wait and are worked on. Raises Overloaded."""
        heavy = [self._is_heavy(body, wants) for body in inputs]
        with self.line.places(heavy.count(False)), self.heavy_line.places(heavy.count(True)):
            yield

    async def predict(
        self, body: bytes, wants: ResponseFormat, asked: RequestContext, gone: Gone | None = None
    ) -> Outcome:
        """Predicts one input in the pool and logs it. The caller holds one of `places`.

        What has not begun when the time is over or the caller gone does not begin; a video also ends half-way.

        Raises:
            MissingService: not ready yet, or no answer within `request_timeout_s`, waiting included.
            CallerGone: the connection was closed.
            BadInput, UnsupportedMedia, TooLarge: the input's own fault.

        Errors tell under which id they are in the log (`logged_as`).
        """
        self.check_ready()
        limit = settings().request_timeout_s
        watch = CallDeadline(limit)
        heavy = self._is_heavy(body, wants)
        pool, line = (self._heavy, self.heavy_line) if heavy else (self._pool, self.line)
        call = pool.submit(partial(self.predict_now, body, wants, asked, watch))
        begin = min(WATCH_AFTER_S, limit)
        watching = asyncio.get_running_loop().call_later(begin, self._watch, call, watch, limit + GRACE_S - begin, gone)
        try:
            answered = await call
        except Exception as error:
            attach_prediction_id(error, watch.prediction_id)
            raise
        finally:
            watching.cancel()
        line.record(answered.elapsed_ms / 1000)
        return answered

    def _watch(self, call: asyncio.Future[Outcome], watch: CallDeadline, limit_s: float, gone: Gone | None) -> None:
        watching = asyncio.ensure_future(self._watched(call, watch, limit_s, gone))
        call.add_done_callback(lambda _: watching.cancel())

    async def _watched(
        self, call: asyncio.Future[Outcome], watch: CallDeadline, limit_s: float, gone: Gone | None
    ) -> None:
        """Ends a call that takes too long, or that nobody waits for any more."""
        left = gone() if gone else asyncio.get_running_loop().create_future()
        await asyncio.wait((left,), timeout=limit_s)
        if left.done():
            error: VisionloopError = CallerGone("the caller went away before the answer")
        else:
            error = MissingService(
                f"no answer within {settings().request_timeout_s:g} s",
                expected="an input of a usual size, and a machine that is not overloaded",
                fix="try again, send a smaller input, or have request_timeout_s raised",
            )
        if not call.done() and watch.give_up(error):
            call.set_exception(error)

    def predict_now(self, body: bytes, wants: ResponseFormat, asked: RequestContext, watch: OnProgress) -> Outcome:
        """Predicts one input in this thread and logs what its caller gets.

        Args:
            watch: told of the progress through a video; what it raises ends the work.

        Raises:
            BadInput, UnsupportedMedia, TooLarge: the input's own fault.
        """
        assert self._predictor is not None
        began, identity = time.perf_counter(), uuid.uuid4().hex
        if isinstance(watch, CallDeadline):
            watch.prediction_id = identity
        try:
            prediction = self._predictor(body, wants.media, watch)
            predicted = time.perf_counter()
            formats = self._predictor.spec.render.FORMATS
            explanation = self._explain(body, prediction, wants) if wants.explain else None
            image = formats[JPEG](prediction.sample, prediction.result) if wants.image else None
            payload = None
            if wants.media != JSON and not wants.embedding:
                heat = None if explanation is None or isinstance(explanation, BadInput) else explanation.picture
                payload = heat or formats[wants.media](prediction.sample, prediction.result)
        except Exception as error:
            if not isinstance(error, VisionloopError):
                logger.exception("prediction %s failed", identity)
            self._record_error(identity, asked, began, _given_up(watch) or error)
            attach_prediction_id(error, identity)
            raise
        if (told := _given_up(watch)) is not None:
            self._record_error(identity, asked, began, told)
            raise CallerGone("nobody waits any more")
        elapsed = 1000 * (time.perf_counter() - began)
        # An explanation asks the network many times: the version's own latency would be lost in it.
        alone = 1000 * (predicted - began) if wants.explain else elapsed
        self._record(identity, asked, alone, "ok", 200, prediction, body)
        return Outcome(identity, prediction, payload, elapsed, image, explanation)

    def _explain(self, body: bytes, prediction: Prediction, wants: ResponseFormat) -> Explanation | BadInput:
        """The heat map, or why there is none; that is an error only where nothing else was asked for."""
        from registry.versions.explain import explain

        assert self._predictor is not None
        try:
            return explain(self._predictor, body, prediction)
        except BadInput as error:
            if wants.media != JSON:
                raise
            return error

    def _record_error(self, identity: str, asked: RequestContext, began: float, error: Exception) -> None:
        status = error.http_status if isinstance(error, VisionloopError) else 500
        elapsed = 1000 * (time.perf_counter() - began)
        self._record(identity, asked, elapsed, type(error).__name__, status, None, None)

    def _record(
        self,
        identity: str,
        asked: RequestContext,
        latency_ms: float,
        outcome: str,
        status: int,
        prediction: Prediction | None,
        body: bytes | None,
    ) -> None:
        from monitoring.log.writer import Record

        assert self.log is not None
        assert self._predictor is not None
        record = Record(
            id=identity,
            time=time.time(),
            model=self.served.model,
            version=self.served.version,
            role=asked.role,
            caller=asked.caller[:128],
            latency_ms=latency_ms,
            outcome=outcome,
            status=status,
            image_statistics=prediction.image_statistics if prediction else {},
            prediction_statistics=prediction.prediction_statistics if prediction else {},
            embedding=prediction.embedding if prediction else [],
            input_suffix=self._suffix(body),
        )
        self.log.record(record, body)

    def _is_heavy(self, body: bytes, wants: ResponseFormat) -> bool:
        """Whether an input takes many calls of the network: an explanation, or a video."""
        return wants.explain or self._is_video(body)

    def _is_video(self, body: bytes) -> bool:
        assert self._predictor is not None
        return media_types.VIDEO_OUT in self._predictor.spec.media_out and media_types.is_video(body)

    def _suffix(self, body: bytes | None) -> str:
        """The file ending to keep the input under: what its first bytes say; a gzipped body takes one that says so."""
        assert self._predictor is not None
        extensions = self._predictor.spec.extensions
        if body is not None and (found := media_types.extension_of(body)) in extensions:
            return found
        packed = body is not None and body[:2] == b"\x1f\x8b"
        return next((e for e in extensions if e.endswith(".gz") == packed), extensions[0])
