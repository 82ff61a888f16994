"""A loaded version: predicts in the calling thread, and logs what its caller gets."""

from __future__ import annotations

import logging
import time
import uuid
from functools import cached_property
from typing import TYPE_CHECKING, Any

from registry.contract.spec import ModelSpec
from registry.core.errors import BadInput, VisionloopError
from registry.core.media import OnProgress, Prediction
from registry.vision import media_types
from serving.wire.call import Outcome, RequestContext, ServedVersion, attach_prediction_id
from serving.wire.deadline import CallDeadline, CallerGone
from serving.wire.negotiation import JPEG, JSON, ResponseFormat

if TYPE_CHECKING:
    from monitoring.log.writer import PredictionLog
    from registry.versions.bundle import Manifest
    from registry.versions.explain import Explanation
    from registry.versions.predictor import Predictor

logger = logging.getLogger("visionloop.serving")


class LoadedVersion:
    """A version that passed its golden samples, with its prediction log."""

    def __init__(self, served: ServedVersion, predictor: Predictor, log: PredictionLog) -> None:
        self.served, self.log = served, log
        self._predictor = predictor

    @property
    def spec(self) -> ModelSpec:
        return self._predictor.spec

    @property
    def manifest(self) -> Manifest:
        return self._predictor.bundle.manifest

    @cached_property
    def sample_findings(self) -> dict[str, Any]:
        """The findings in a golden sample, as a JSON answer has them."""
        sample = (self._predictor.bundle.samples[0] / "input").read_bytes()
        return self._predictor(sample).result.to_json()

    def predict(self, body: bytes, wants: ResponseFormat, context: RequestContext, watch: OnProgress) -> Outcome:
        """Predicts one input and logs what its caller gets.

        Args:
            watch: called with the progress through a video; what it raises ends the work. A `CallDeadline` also says
                whether the caller has been answered already.

        Raises:
            BadInput, UnsupportedMedia, TooLarge: the input's own fault.
            CallerGone: the caller has been answered already.
        """
        began, prediction_id = time.perf_counter(), uuid.uuid4().hex
        if isinstance(watch, CallDeadline):
            watch.prediction_id = prediction_id
        try:
            prediction = self._predictor(body, wants.media, watch, wants.asked)
            predicted = time.perf_counter()
            formats = self.spec.render.FORMATS
            explanation = self._explain(body, prediction, wants) if wants.explain else None
            image = formats[JPEG](prediction.sample, prediction.result) if wants.image else None
            payload = None
            if wants.media != JSON and not wants.embedding:
                heat = None if explanation is None or isinstance(explanation, BadInput) else explanation.picture
                payload = heat or formats[wants.media](prediction.sample, prediction.result)
            findings = prediction.result.to_json() | ({"parameters": dict(wants.asked)} if wants.asked else {})
        except Exception as error:
            if not isinstance(error, VisionloopError):
                logger.exception("prediction %s failed", prediction_id)
            self._record(prediction_id, context, time.perf_counter() - began, error=_already_answered(watch) or error)
            attach_prediction_id(error, prediction_id)
            raise
        if (answered := _already_answered(watch)) is not None:
            self._record(prediction_id, context, time.perf_counter() - began, error=answered)
            raise CallerGone("the caller no longer waits")
        elapsed_s = time.perf_counter() - began
        # An explanation calls the network many times: the version's own latency would be lost in it.
        latency_s = predicted - began if wants.explain else elapsed_s
        self._record(prediction_id, context, latency_s, prediction, body, findings)
        return Outcome(prediction_id, prediction, findings, payload, 1000 * elapsed_s, image, explanation)

    def _explain(self, body: bytes, prediction: Prediction, wants: ResponseFormat) -> Explanation | BadInput:
        """The heat map, or why there is none. That is an error only where nothing else was asked for."""
        from registry.versions.explain import explain

        try:
            return explain(self._predictor, body, prediction)
        except BadInput as error:
            if wants.media != JSON:
                raise
            return error

    def _record(
        self,
        prediction_id: str,
        context: RequestContext,
        latency_s: float,
        prediction: Prediction | None = None,
        body: bytes | None = None,
        findings: dict[str, Any] | None = None,
        error: Exception | None = None,
    ) -> None:
        from monitoring.log import answers
        from monitoring.log.writer import Record

        failed = error.http_status if isinstance(error, VisionloopError) else 500
        answer = error.to_json() if isinstance(error, VisionloopError) else findings
        record = Record(
            id=prediction_id,
            time=time.time(),
            model=self.served.model,
            version=self.served.version,
            role=context.role,
            caller=context.caller[:128],
            latency_ms=1000 * latency_s,
            outcome=type(error).__name__ if error else "ok",
            status=failed if error else 200,
            image_statistics=prediction.image_statistics if prediction else {},
            prediction_statistics=prediction.prediction_statistics if prediction else {},
            embedding=prediction.embedding if prediction else [],
            input_suffix=self._suffix(body),
            answer=answers.pack(answer) if answer is not None else None,
        )
        self.log.record(record, body)

    def _suffix(self, body: bytes | None) -> str:
        """The file ending under which the input is kept: by its first bytes; for gzip, one that ends in .gz."""
        extensions = self.spec.extensions
        if body is not None and (extension := media_types.extension_of(body)) in extensions:
            return extension
        packed = body is not None and body[:2] == b"\x1f\x8b"
        return next((e for e in extensions if e.endswith(".gz") == packed), extensions[0])


def _already_answered(watch: OnProgress) -> VisionloopError | None:
    """The error that the caller got already. None claims the call: the answer of the work is what the caller gets."""
    return watch.given_up if isinstance(watch, CallDeadline) and not watch.settle() else None
