"""What a classifier says of a picture, and its metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from registry.core.media import FloatArray

LOGITS = "logits"
"""The output that holds the classes: float32 [N, C], before the softmax."""

SAID_APART = 20  # classes; with more of them the drift monitor watches the shape of the answer, not each probability


@dataclass(frozen=True, eq=False)
class Ranking:
    """How likely each class is.

    Attributes:
        classes: C names, in the order of the network's output.
        probabilities: float32 [C], in [0, 1], sum 1.
        extras: what else the answer's JSON says, e.g. {"model_size_mb": 1.9}.
    """

    classes: tuple[str, ...]
    probabilities: FloatArray
    extras: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.probabilities.shape != (len(self.classes),):
            raise ValueError(f"probabilities {self.probabilities.shape} for {len(self.classes)} classes")

    @cached_property
    def index(self) -> int:
        """Of the most probable class; the first of equals."""
        return int(self.probabilities.argmax())

    @property
    def name(self) -> str:
        return self.classes[self.index]

    @property
    def probability(self) -> float:
        return float(self.probabilities[self.index])

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """The `count` most probable classes, best first."""
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(self.classes[i], float(self.probabilities[i])) for i in order]

    def to_json(self) -> dict[str, Any]:
        """`scores` has every class, best first."""
        return {
            "class": self.name,
            "probability": round(self.probability, 6),
            "scores": {name: round(p, 6) for name, p in self.top(len(self.classes))},
            **self.extras,
        }

    def statistics(self) -> dict[str, float]:
        """Confidence, margin over the second class, entropy as a share of the greatest possible one, and with up to
        20 classes the probability of each."""
        p = np.clip(self.probabilities.astype(np.float64), 1e-9, 1)
        ordered = np.sort(self.probabilities)
        second = float(ordered[-2]) if len(ordered) > 1 else 0.0
        numbers = {
            "confidence": self.probability,
            "margin": self.probability - second,
            "entropy": float(-(p * np.log(p)).sum() / np.log(max(len(p), 2))),
        }
        if len(self.classes) <= SAID_APART:
            numbers |= {f"p_{name}": float(v) for name, v in zip(self.classes, self.probabilities, strict=True)}
        return numbers


def softmax(logits: np.ndarray) -> FloatArray:
    """Along the last axis, float32; computed so that no exponential overflows."""
    shifted = np.asarray(logits, dtype=np.float64)
    shifted = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), dtype=np.float32)


def accuracy(results: Sequence[Ranking], truths: Sequence[str]) -> float:
    """Share of cases whose most probable class is the true one. Raises ValueError if there is no case."""
    if not results:
        raise ValueError("a metric of no cases is not defined")
    return sum(r.name == t for r, t in zip(results, truths, strict=True)) / len(results)


def error_rate(results: Sequence[Ranking], truths: Sequence[str]) -> float:
    """1 - accuracy: lower is better. Raises ValueError if there is no case."""
    return 1 - accuracy(results, truths)


def macro_f1(results: Sequence[Ranking], truths: Sequence[str]) -> float:
    """F1 = 2 TP / (2 TP + FP + FN), averaged over the classes that occur among `truths`.

    A class that is only named and never true has no recall to speak of; naming it already costs the true one.
    Raises ValueError if there is no case.
    """
    return float(np.mean(list(per_class(results, truths).values())))


def per_class(results: Sequence[Ranking], truths: Sequence[str]) -> dict[str, float]:
    """F1 of each class that occurs among `truths`. Classes are compared by name: versions may know different ones."""
    named = Counter(result.name for result in results)
    true, hits = _true_and_found(results, truths)
    return {name: 2 * hits[name] / (named[name] + count) for name, count in true.items()}


def errors(results: Sequence[Ranking], truths: Sequence[str]) -> dict[str, float]:
    """Share of its cases that were named wrongly, for each class that occurs among `truths`."""
    true, hits = _true_and_found(results, truths)
    return {name: 1 - hits[name] / count for name, count in true.items()}


def _true_and_found(results: Sequence[Ranking], truths: Sequence[str]) -> tuple[dict[str, int], Counter[str]]:
    """How often each class is true, in the network's order, and how often it was then named."""
    if not results:
        raise ValueError("a metric of no cases is not defined")
    true = Counter(truths)
    hits = Counter(t for r, t in zip(results, truths, strict=True) if r.name == t)
    return {name: true[name] for name in dict.fromkeys((*results[0].classes, *sorted(true))) if true[name]}, hits


Metric = Callable[[Sequence[Ranking], Sequence[str]], float]
PerClass = Callable[[Sequence[Ranking], Sequence[str]], dict[str, float]]
METRICS: Mapping[str, tuple[Metric, PerClass]] = {
    "macro_f1": (macro_f1, per_class),
    "accuracy": (accuracy, per_class),
    "error_rate": (error_rate, errors),
}
"""Name of the metric in a spec -> over all cases, and class by class."""
