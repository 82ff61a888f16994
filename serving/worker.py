"""The work behind a service: one loaded version, its threads, and the log of what it predicted."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from registry.errors import BadInput, MissingService, TooLarge, VisionloopError
from registry.media import Prediction
from registry.predictor import Predictor
from registry.runtime import default_threads
from registry.settings import settings
from registry.vision import media_types
from serving.negotiation import JPEG, JSON, Wanted

if TYPE_CHECKING:
    from monitoring.log import PredictionLog
    from registry.vision.explain import Explanation

logger = logging.getLogger("visionloop.serving")

GRACE_S = 1.0
"""So that work which watches the time itself is the one to say why it ended."""


@dataclass(frozen=True)
class Served:
    """Which version this process serves.

    Attributes:
        version: number in the registry.
        digest: of the bundle.
        role: part the version plays in the release: `champion` until there are others.
    """

    model: str
    version: int
    digest: str
    role: str = "champion"


@dataclass(frozen=True, eq=False)
class Answered:
    """A prediction that is already in the log.

    Attributes:
        id: uuid4, hex.
        payload: the result encoded as the caller asked for, or None when JSON was asked for.
        elapsed_ms: bytes in to bytes out, without the network between caller and service.
        image: the annotated picture for the JSON answer, a JPEG.
        explanation: the heat map; a BadInput where there was nothing to explain.
    """

    id: str
    prediction: Prediction
    payload: bytes | None
    elapsed_ms: float
    image: bytes | None = None
    explanation: Explanation | BadInput | None = None


class Stopwatch:
    """Ends the work on a video that takes longer than a caller waits for; given to the predictor as `told`.

    From `SURE_S` seconds on it also ends one that would take more than twice as long at its pace.
    """

    SURE_S = 5.0

    def __init__(self, limit_s: float) -> None:
        self._limit = limit_s
        self._began = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Raises TooLarge."""
        spent = time.monotonic() - self._began
        needed = spent * total / max(done, 1)
        if spent <= self._limit and not (spent >= self.SURE_S and needed > 2 * self._limit):
            return
        raise TooLarge(
            f"the video would take about {needed:,.0f} s here: {done:,} of its {total:,} frames took {spent:.0f} s",
            expected=f"a video that is done within {self._limit:g} s, about {done * self._limit / spent:,.0f} frames",
            mend="use the command line, which has no limit (`visionloop predict MODEL FILE --out OUT.webm`), cut the "
            "video, or raise request_timeout_s",
        )


class Worker:
    """Loads a bundle, proves it on its golden samples, then answers. One per process.

    `start` returns at once, so that the process can already say "not ready" over HTTP; `ready` becomes
    true when the golden samples passed. If they do not, `on_failure` is called with the error.
    """

    def __init__(self, bundle: Path, served: Served, on_failure: Callable[[Exception], None]) -> None:
        self.served = served
        self.ready = False
        self._started = False
        self._bundle = bundle
        self._on_failure = on_failure
        self._predictor: Predictor | None = None
        self._log: PredictionLog | None = None
        # As many calls at once as there are cores: one decodes while the network of another runs.
        self._pool = ThreadPoolExecutor(settings().threads or default_threads(), thread_name_prefix="predict")

    def start(self) -> None:
        """Begins to load; a second call does nothing."""
        if not self._started:
            self._started = True
            threading.Thread(target=self._load, name="load", daemon=True).start()

    def stop(self) -> None:
        """Lets running calls finish and writes out the log."""
        self.ready = False
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._log is not None:
            self._log.close(timeout_s=10)

    def _load(self) -> None:
        from monitoring.log import PredictionLog

        began = time.perf_counter()
        try:
            predictor = Predictor.load(self._bundle, settings().threads, settings().max_voxels)
            count = predictor.check_golden()
            log = PredictionLog(f"{self.served.model}-{self.served.version}")
        except Exception as error:
            self._on_failure(error)
            return
        self._predictor, self._log = predictor, log
        self.ready = True
        log.start()  # after: it loads the database's ORM, and what is recorded before it waits on disk
        logger.info(
            "%s version %d is ready: %d golden samples passed, %.1f s after loading began",
            self.served.model,
            self.served.version,
            count,
            time.perf_counter() - began,
        )

    async def predict(self, body: bytes, caller: str, wants: Wanted) -> Answered:
        """Predicts one input in the pool and logs it.

        Raises:
            MissingService: not ready yet, or no answer within `request_timeout_s`.
            BadInput, UnsupportedMedia, TooLarge: the input's own fault.
        """
        if not self.ready:
            raise MissingService(
                f"{self.served.model} version {self.served.version} is still being loaded",
                expected="/readyz to answer 200",
                mend="try again in a second",
            )
        limit = settings().request_timeout_s
        watch = Stopwatch(limit)
        call = asyncio.get_running_loop().run_in_executor(self._pool, self._predict, body, caller, wants, watch)
        try:
            return await asyncio.wait_for(call, limit + GRACE_S)
        except TimeoutError as error:
            raise MissingService(
                f"no answer within {limit:g} s",
                expected="an input of a usual size, and a machine that is not overloaded",
                mend="try again, send a smaller input, or raise request_timeout_s",
            ) from error

    def _predict(self, body: bytes, caller: str, wants: Wanted, watch: Stopwatch) -> Answered:
        assert self._predictor is not None
        began, identity = time.perf_counter(), uuid.uuid4().hex
        try:
            prediction = self._predictor(body, wants.media, watch)
            predicted = time.perf_counter()
            formats = self._predictor.spec.render.FORMATS
            explanation = self._explain(body, prediction, wants) if wants.explain else None
            image = formats[JPEG](prediction.sample, prediction.result) if wants.image else None
            payload = None
            if wants.media != JSON:
                heat = None if explanation is None or isinstance(explanation, BadInput) else explanation.picture
                payload = heat or formats[wants.media](prediction.sample, prediction.result)
        except Exception as error:
            known = isinstance(error, VisionloopError)
            status = error.http_status if isinstance(error, VisionloopError) else 500
            elapsed = 1000 * (time.perf_counter() - began)
            self._record(identity, caller, elapsed, type(error).__name__, status, None, None)
            if not known:
                logger.exception("prediction %s failed", identity)
            raise
        elapsed = 1000 * (time.perf_counter() - began)
        # An explanation asks the network many times: the version's own latency would be lost in it.
        alone = 1000 * (predicted - began) if wants.explain else elapsed
        self._record(identity, caller, alone, "ok", 200, prediction, body)
        return Answered(identity, prediction, payload, elapsed, image, explanation)

    def _explain(self, body: bytes, prediction: Prediction, wants: Wanted) -> Explanation | BadInput:
        """The heat map, or why there is none; that is an error only where nothing else was asked for."""
        from registry.vision.explain import explain

        assert self._predictor is not None
        try:
            return explain(self._predictor, body, prediction)
        except BadInput as error:
            if wants.media != JSON:
                raise
            return error

    def _record(
        self,
        identity: str,
        caller: str,
        latency_ms: float,
        outcome: str,
        status: int,
        prediction: Prediction | None,
        body: bytes | None,
    ) -> None:
        from monitoring.log import Record

        assert self._log is not None
        assert self._predictor is not None
        record = Record(
            id=identity,
            time=time.time(),
            model=self.served.model,
            version=self.served.version,
            role=self.served.role,
            caller=caller[:128],
            latency_ms=latency_ms,
            outcome=outcome,
            status=status,
            image_statistics=prediction.image_statistics if prediction else {},
            prediction_statistics=prediction.prediction_statistics if prediction else {},
            embedding=prediction.embedding if prediction else [],
            input_suffix=self._suffix(body),
        )
        self._log.record(record, body)

    def _suffix(self, body: bytes | None) -> str:
        """The file ending to keep the input under: what its first bytes say; a gzipped body takes one that says so."""
        assert self._predictor is not None
        extensions = self._predictor.spec.extensions
        if body is not None and (found := media_types.ending(body)) in extensions:
            return found
        packed = body is not None and body[:2] == b"\x1f\x8b"
        return next((e for e in extensions if e.endswith(".gz") == packed), extensions[0])
