"""Prometheus metrics of a service, labelled with model and version. Also the process's own CPU and memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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
        names = ("model", "version")
        self._labels = labels = (served.model, str(served.version))
        self._registry = to = CollectorRegistry()
        ProcessCollector(registry=to)
        to.register(_LogCollector(served, log))

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"visionloop_{name}", text, names, registry=to).labels(*labels)

        def histogram(name: str, text: str, buckets: Sequence[float]) -> Histogram:
            return Histogram(f"visionloop_{name}", text, names, buckets=buckets, registry=to).labels(*labels)

        def summary(name: str, text: str, by: str) -> Summary:
            return Summary(f"visionloop_{name}", text, (*names, by), registry=to)

        self._requests = Counter(
            "visionloop_requests", "Requests for a prediction", (*names, "role", "media", "status"), registry=to
        )
        self._rejected = Counter(
            "visionloop_rejected", "Requests refused because too many inputs waited", names, registry=to
        ).labels(*labels)
        self._seconds = histogram("request_seconds", "Bytes in to bytes out, seconds", SECONDS)
        self._batch_size = histogram("batch_size", "Inputs that went through the network together", SIZES)
        self._steps = summary("step_seconds", "Steps of a prediction, seconds", "step")
        self._statistics = summary("prediction", "Prediction statistics; sum by count is the mean", "name")
        self._running = gauge("requests_running", "Requests being worked on")
        waiting = gauge("queue_length", "Inputs that wait for their turn")
        waiting.set_function(lambda: queue.waiting + heavy_queue.waiting)
        gauge("queue_capacity", "Inputs that may wait").set_function(lambda: queue.capacity)
        gauge("service_seconds", "Mean time of one input at work, seconds").set_function(lambda: queue.service_s)
        info = Gauge("visionloop_version_info", "1 for the version served", (*names, "digest"), registry=to)
        info.labels(*labels, served.digest[:12]).set(1)

    def began(self) -> None:
        self._running.inc()

    def batched(self, size: int) -> None:
        self._batch_size.observe(size)

    def ended(self, role: str, media: str, status: int, seconds: float) -> None:
        self._running.dec()
        self._requests.labels(*self._labels, role, media, str(status)).inc()
        if status == Overloaded.http_status:
            self._rejected.inc()
        self._seconds.observe(seconds)

    def predicted(self, statistics: Mapping[str, float], steps: Mapping[str, float]) -> None:
        for name, value in statistics.items():
            self._statistics.labels(*self._labels, name).observe(value)
        for name, value in steps.items():
            self._steps.labels(*self._labels, name).observe(value)

    def exposition(self) -> tuple[bytes, int, None, str]:
        """Content, status, headers and media type of an answer in Prometheus' text format."""
        return generate_latest(self._registry), 200, None, CONTENT_TYPE_LATEST
