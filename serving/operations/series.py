"""Figures over time from the database: requests, errors, latency, class shares, drift scores and feedback."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from monitoring.log.models import Feedback, Prediction, Verdict
from serving.releases.models import Traffic
from serving.router.traffic import Latencies

SPANS = {"day": (timedelta(days=1), 24), "week": (timedelta(days=7), 28), "month": (timedelta(days=30), 30)}
"""Name -> how far back, and into how many parts it is divided."""
MOST_CLASSES = 6
MOST_PREDICTIONS = 20_000
"""Class shares are of the latest so many predictions."""
SHARES = ("p_", "count_", "share_")
"""How prediction statistics are named that belong to a class."""


@dataclass(frozen=True)
class Chart:
    """Lines over time.

    Attributes:
        times: the beginning of each part, UTC.
        lines: name -> a value for each part, None where there is none.
        limit: a value that must not be exceeded.
    """

    name: str
    times: list[datetime]
    lines: dict[str, list[float | None]] = field(default_factory=dict)
    unit: str = ""
    limit: float | None = None

    @property
    def is_empty(self) -> bool:
        return not any(value is not None for line in self.lines.values() for value in line)


class Parts:
    """The parts of a span that ends now."""

    def __init__(self, span: str) -> None:
        length, count = SPANS[span]
        self.length = length / count
        now = datetime.now(UTC)
        self.start = now - length
        self.times = [self.start + n * self.length for n in range(count)]

    def of(self, time: datetime) -> int:
        return min(len(self.times) - 1, max(0, int((time - self.start) / self.length)))

    def collect(self, pairs: Iterable[tuple[datetime, Any]], reduce: Callable[[list[Any]], Any]) -> list[Any]:
        """One value a part: `reduce` of what belongs to it; None where nothing does."""
        found: dict[int, list[Any]] = defaultdict(list)
        for time, value in pairs:
            found[self.of(time)].append(value)
        return [reduce(found[n]) if n in found else None for n in range(len(self.times))]


def charts(span: str, model: str = "") -> list[Chart]:
    """All charts of a span. `model`: only this one; "" all, without class shares, which are of one model."""
    parts = Parts(span)
    chosen = {"model": model} if model else {}
    found = [*_traffic(parts, chosen), _drift(parts, chosen), _feedback(parts, chosen)]
    return [*found[:3], _classes(parts, model), *found[3:]] if model else found


def _traffic(parts: Parts, chosen: dict[str, str]) -> list[Chart]:
    """Copies to a shadow are no requests of anybody."""
    rows = Traffic.objects.filter(minute__gte=parts.start, **chosen).exclude(role="shadow")
    asked = list(rows.values_list("minute", "calls", "errors", "refused", "latencies"))
    calls, errors, refused = (parts.collect(((row[0], row[n]) for row in asked), sum) for n in (1, 2, 3))
    latencies = parts.collect(((row[0], row[4]) for row in asked), _added)
    return [
        Chart("requests", parts.times, {"requests": calls}),
        Chart("errors", parts.times, {"errors": errors, "refused": refused}),
        Chart(
            "latency",
            parts.times,
            {name: [one and one.known_quantile(q) for one in latencies] for name, q in (("p50", 0.5), ("p95", 0.95))},
            unit="ms",
        ),
    ]


def _added(histograms: list[dict[str, int]]) -> Latencies:
    buckets: Counter[int] = Counter()
    for one in histograms:
        buckets.update({int(bucket): count for bucket, count in one.items()})
    return Latencies(buckets)


def _classes(parts: Parts, model: str) -> Chart:
    """The mean of each class's statistic: its probability, or how many things of it were found."""
    rows = Prediction.objects.filter(model=model, time__gte=parts.start, outcome="ok").order_by("-time")
    asked = list(rows.values_list("time", "prediction_statistics")[:MOST_PREDICTIONS])
    totals: Counter[str] = Counter()
    for _, numbers in asked:
        totals.update({name: value for name, value in numbers.items() if name.startswith(SHARES)})
    lines = {}
    for name, _ in totals.most_common(MOST_CLASSES):
        pairs = ((time, numbers[name]) for time, numbers in asked if name in numbers)
        lines[name.partition("_")[2]] = parts.collect(pairs, _mean)
    return Chart("classes", parts.times, lines)


def _drift(parts: Parts, chosen: dict[str, str]) -> Chart:
    """The largest of each kind's statistics, as a share of its threshold: above 1 the monitor alarms."""
    scores: dict[str, list[tuple[datetime, float]]] = defaultdict(list)
    rows = Verdict.objects.filter(time__gte=parts.start, **chosen).values_list("time", "finding")
    for time, finding in rows:
        for test in (finding.get("distributions") or {}).get("tests", ()):
            if test["threshold"] > 0:
                scores[test["kind"]].append((time, test["statistic"] / test["threshold"]))
    return Chart("drift", parts.times, {kind: parts.collect(pairs, max) for kind, pairs in scores.items()}, limit=1.0)


def _feedback(parts: Parts, chosen: dict[str, str]) -> Chart:
    """The mean score of labelled predictions, by the time of the prediction."""
    narrowed = {f"prediction__{name}": value for name, value in chosen.items()}
    rows = Feedback.objects.filter(prediction__time__gte=parts.start, score__isnull=False, **narrowed)
    pairs = rows.values_list("prediction__time", "score")
    return Chart("feedback", parts.times, {"score": parts.collect(pairs, _mean)})


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
