"""Prometheus metrics of a service, labelled with model and version. Also the process's own CPU and memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, Summary
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from monitoring.log import spool
from registry.core.errors import Overloaded
from serving.service.batching import SIZES
from serving.wire.admission import AdmissionQueue
from serving.wire.call import ServedVersion

if TYPE_CHECKING:
    from monitoring.log.writer import PredictionLog

SECONDS = (0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class _LogCollector(Collector):
    """The state of the prediction log, read when somebody asks for the metrics."""

    def __init__(self, served: ServedVersion, log: Callable[[], PredictionLog | None]) -> None:
        self._served, self._log = served, log

    def collect(self) -> Iterable[Metric]:
        labels, values = ("model", "version"), (self._served.model, str(self._served.version))
        log = self._log()
        unlogged = CounterMetricFamily(
            "visionloop_predictions_unlogged", "Answered predictions missing in the log", labels=(*labels, "reason")
        )
        unlogged.add_metric((*values, "disk"), log.lost if log else 0)
        unlogged.add_metric((*values, "spool_full"), spool.dropped().of(self._served.model, self._served.version))
        waiting = GaugeMetricFamily(
            "visionloop_log_waiting_bytes", "Written by this service and not in the database yet", labels=labels
        )
        waiting.add_metric(values, log.waiting if log else 0)
        return (unlogged, waiting)


class ServiceMetrics:
    """The metrics of a service.

    Args:
        heavy_queue: of explanations and videos.
        log: returns the prediction log; None while the version is being loaded.
    """

    def __init__(
        self,
        served: ServedVersion,
        queue: AdmissionQueue,
        heavy_queue: AdmissionQueue,
        log: Callable[[], PredictionLog | None] = lambda: None,
    ) -> None:
        labels = ("model", "version")
        self._model, self._version = served.model, str(served.version)
        self._registry = to = CollectorRegistry()
        ProcessCollector(registry=to)
        to.register(_LogCollector(served, log))
        self._requests = Counter(
            "visionloop_requests", "Requests for a prediction", (*labels, "role", "media", "status"), registry=to
        )
        self._seconds = Histogram(
            "visionloop_request_seconds", "Bytes in to bytes out, seconds", labels, buckets=SECONDS, registry=to
        ).labels(self._model, self._version)
        self._steps = Summary(
            "visionloop_step_seconds", "Steps of a prediction, seconds", (*labels, "step"), registry=to
        )
        self._statistics = Summary(
            "visionloop_prediction", "Prediction statistics; sum by count is the mean", (*labels, "name"), registry=to
        )
        self._running = Gauge("visionloop_requests_running", "Requests being worked on", labels, registry=to).labels(
            self._model, self._version
        )
        self._batch_size = Histogram(
            "visionloop_batch_size", "Inputs that went through the network together", labels, buckets=SIZES, registry=to
        ).labels(self._model, self._version)
        for name, text, read in (
            ("visionloop_queue_length", "Inputs that wait for their turn", lambda: queue.waiting + heavy_queue.waiting),
            ("visionloop_queue_capacity", "Inputs that may wait", lambda: queue.capacity),
            ("visionloop_service_seconds", "Mean time of one input at work, seconds", lambda: queue.service_s),
        ):
            Gauge(name, text, labels, registry=to).labels(self._model, self._version).set_function(read)
        self._rejected = Counter(
            "visionloop_rejected", "Requests refused because too many inputs waited", labels, registry=to
        ).labels(self._model, self._version)
        info = Gauge("visionloop_version_info", "1 for the version served", (*labels, "digest"), registry=to)
        info.labels(self._model, self._version, served.digest[:12]).set(1)

    def began(self) -> None:
        self._running.inc()

    def batched(self, size: int) -> None:
        self._batch_size.observe(size)

    def ended(self, role: str, media: str, status: int, seconds: float) -> None:
        self._running.dec()
        self._requests.labels(self._model, self._version, role, media, str(status)).inc()
        if status == Overloaded.http_status:
            self._rejected.inc()
        self._seconds.observe(seconds)

    def predicted(self, statistics: Mapping[str, float], steps: Mapping[str, float]) -> None:
        for name, value in statistics.items():
            self._statistics.labels(self._model, self._version, name).observe(value)
        for name, value in steps.items():
            self._steps.labels(self._model, self._version, name).observe(value)

    def exposition(self) -> tuple[bytes, int, None, str]:
        """Content, status, headers and media type of an answer in Prometheus' text format."""
        return generate_latest(self._registry), 200, None, CONTENT_TYPE_LATEST
