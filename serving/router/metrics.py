"""The router's metrics in Prometheus' text format: its counts, read when somebody asks. No request pays for them.

Of calls to versions they show what `serving.router.traffic` counts anyway: requests for work (POST), copies to shadows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.router.routing import RouteTable
from serving.router.traffic import BUCKET_WIDTH, SMALLEST_MS, Latencies, RoleCounts
from serving.wire.admission import UploadBudget

if TYPE_CHECKING:
    from serving.router.forwarding import Forwarder
    from serving.router.shadow import Shadow

SECONDS = (0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""As `serving.service.metrics`, so that both can be compared."""
LABELS = ("model", "version", "role")
Key = tuple[str, int, str]


class RouterCollector(Collector):
    """The router's figures. Collect in the event loop, where the counts are added up.

    Args:
        memory: for the bodies and answers of all requests.
        classes: all answers of the router by the hundreds of their status.

    Attributes:
        forwarder, shadow: None until the router has started.
    """

    def __init__(self, table: RouteTable, memory: UploadBudget, classes: Sequence[int]) -> None:
        self._table, self._memory, self._classes = table, memory, classes
        self.forwarder: Forwarder | None = None
        self.shadow: Shadow | None = None

    def collect(self) -> Iterable[Metric]:
        counts: dict[Key, RoleCounts] = self._table.traffic.totals()
        for route in self._table.routes.values():
            for role, version in route.plan.roles().items():
                counts.setdefault((route.plan.model, version, role), RoleCounts())  # a rate begins at 0
        yield from _calls(counts)
        yield _latencies(counts)
        yield from _comparisons(counts)
        yield from self._releases()
        yield from self._state()

    def _releases(self) -> list[Metric]:
        share = _gauge("release_share", "Share of a model's requests (of a shadow: of copies), 0..1", (*LABELS, "plan"))
        down = _gauge("service_down", "1 where the service of a version was not ready when last asked", LABELS[:2])
        for model, route in self._table.routes.items():
            plan = route.plan
            divided = plan.kind in ("canary", "ab")
            for role, version in plan.roles().items():
                percent = 100 if not divided else plan.share if version == plan.second else 100 - plan.share
                share.add_metric((model, str(version), role, plan.kind), percent / 100)
            for endpoint in filter(None, (route.live, route.second)):
                down.add_metric((model, str(endpoint.version)), self._table.down(endpoint))
        return [share, down]

    def _state(self) -> Iterator[Metric]:
        answers = CounterMetricFamily(
            "visionloop_router_answers", "All answers of the router, refusals and pages too", labels=("status",)
        )
        for hundreds, count in enumerate(self._classes):
            if hundreds:
                answers.add_metric((f"{hundreds}xx",), count)
        yield answers
        waiting, size = self.shadow.waiting if self.shadow else (0, 0)
        yield _one("router_in_flight", "Requests that services work on", sum(self._table.in_flight.values()))
        yield _one(
            "router_held", "Requests that wait for a service's restart", self.forwarder.holding if self.forwarder else 0
        )
        yield _one("router_upload_bytes", "Bodies and answers in memory", self._memory.taken)
        yield _one("router_upload_limit_bytes", "Most bytes of bodies and answers in memory", self._memory.limit)
        yield _one("router_shadow_queue", "Copies for shadows that wait", waiting)
        yield _one("router_shadow_bytes", "Copies for shadows in memory", size)
        yield _one("router_database_away", "1 while the database does not answer", self._table.away)


def registry(collector: RouterCollector) -> CollectorRegistry:
    """With the process's own CPU, memory and open files."""
    found = CollectorRegistry()
    ProcessCollector(registry=found)
    found.register(collector)
    return found


def _calls(counts: Mapping[Key, RoleCounts]) -> list[Metric]:
    requests = CounterMetricFamily(
        "visionloop_router_requests",
        "Requests forwarded, by the status the version gave; none: the caller left, or the version is not to blame",
        labels=(*LABELS, "status"),
    )
    errors = _counter("errors", "Failures of the version, answers that broke off too: what guardrails count")
    retried = _counter("retried", "Requests that another version then answered")
    refused = _counter("refused", "Requests for which the version had no place (429)")
    for key, one in counts.items():
        labels = _labels(key)
        for hundreds, count in enumerate(one.classes):
            if count or hundreds == 2:
                requests.add_metric((*labels, f"{hundreds}xx" if hundreds else "none"), count)
        errors.add_metric(labels, one.errors)
        retried.add_metric(labels, one.retried)
        refused.add_metric(labels, one.refused)
    return [requests, errors, retried, refused]


def _comparisons(counts: Mapping[Key, RoleCounts]) -> list[Metric]:
    found = [
        _counter("shadow_dropped", "Copies dropped because the queue was full, or the service down"),
        _counter("shadow_compared", "Copies whose answer was compared"),
        _counter("shadow_disagreed", "Compared answers that differ"),
        _counter("shadow_agreement", "Sum of the agreement of compared answers, 0..1 each"),
    ]
    for key, one in counts.items():
        if key[2] == "shadow":
            for family, value in zip(found, (one.dropped, one.compared, one.disagreed, one.agreement), strict=True):
                family.add_metric(_labels(key), value)
    return [*found]


def _latencies(counts: Mapping[Key, RoleCounts]) -> Metric:
    found = HistogramMetricFamily(
        "visionloop_router_request_seconds",
        "Request sent to the version until its answer began, seconds. Bounds and sum are good to 5 %",
        labels=LABELS,
    )
    for key, one in counts.items():
        below, seconds = _cumulated(one.latencies)
        found.add_metric(_labels(key), below, seconds)
    return found


def _cumulated(latencies: Latencies) -> tuple[list[tuple[str, float]], float]:
    """(bound, calls below it) of `SECONDS`, and the sum of all in seconds.

    A fine bucket that straddles a bound counts above it, so no call is said to be faster than it was.
    """
    counts, total = [0] * (len(SECONDS) + 1), 0.0
    for bucket, count in latencies.buckets.items():
        end = SMALLEST_MS * math.exp(bucket * BUCKET_WIDTH) / 1000
        counts[sum(bound < end for bound in SECONDS)] += count
        total += count * end * math.exp(-BUCKET_WIDTH / 2)
    below, so_far = [], 0
    for bound, count in zip((*map(str, SECONDS), "+Inf"), counts, strict=True):
        so_far += count
        below.append((bound, float(so_far)))
    return below, total


def _labels(key: Key) -> tuple[str, str, str]:
    return key[0], str(key[1]), key[2]


def _counter(name: str, text: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"visionloop_router_{name}", text, labels=LABELS)


def _gauge(name: str, text: str, labels: Sequence[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"visionloop_{name}", text, labels=labels)


def _one(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"visionloop_{name}", text, value=float(value))
