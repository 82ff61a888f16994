"""Whole pictures into classes: the steps, the result and the metrics of every classifier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from registry.core.errors import BadInput
from registry.core.media import ByteArray, FloatArray, Parameters, Picture, Prepared
from registry.vision.picture import Letterbox, to_input

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


@dataclass(frozen=True)
class Fitted:
    """How the picture lies in the network's square, and what the answer adds (`Prepared.context`)."""

    letterbox: Letterbox
    extras: Mapping[str, Any]


def preprocess(sample: Picture, constants: Parameters) -> Prepared:
    """The whole picture, letterboxed: float32 [1, 3, S, S], RGB in [0, 1], with S = `constants["image_size"]`.

    `constants["size_mb"]`, where there is one, is the served network's size, and goes into the answer.
    """
    letterbox = Letterbox.of(sample.width, sample.height, int(constants["image_size"]))
    extras: dict[str, Any] = {}
    if "size_mb" in constants:
        extras["model_size_mb"] = float(constants["size_mb"])
    if sample.notes:
        extras["notes"] = list(sample.notes)
    return Prepared(to_input(letterbox.fit(sample.pixels))[None], Fitted(letterbox, extras))


def postprocess(outputs: Mapping[str, np.ndarray], prepared: Prepared, classes: Sequence[str]) -> Ranking:
    """Output `logits` float32 [1, C] -> a ranking of `classes`."""
    context: Fitted = prepared.context
    return Ranking(tuple(classes), softmax(outputs[LOGITS][0]), context.extras)


def focus(
    sample: Picture, prepared: Prepared, result: Ranking
) -> tuple[int, ByteArray, tuple[float, float, float, float]]:
    """As the heat map asks: element 0 of the batch, the whole picture, and where it lies in the network's square."""
    context: Fitted = prepared.context
    return 0, sample.pixels, context.letterbox.inner


def evidence(outputs: Mapping[str, np.ndarray], prepared: Prepared, result: Ranking) -> FloatArray:
    """float32 [M]: the probability that each of M outputs gives to the class that `result` names."""
    return np.asarray(softmax(outputs[LOGITS])[:, result.index], dtype=np.float32)


def truth(label: Path | bytes | str, classes: Sequence[str]) -> str:
    """A label is the class's name (UTF-8, blanks around it and case do not matter).

    Raises:
        BadInput: it is not one of `classes`.
    """
    said = label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)
    known = {name.casefold(): name for name in classes}
    found = known.get(said.strip().casefold())
    if found is None:
        raise BadInput(
            f"the label is {said.strip()[:60]!r}",
            expected=f"one of {', '.join(classes)}",
            fix="send the name of one of these classes as the label",
        )
    return found


def result_of(truth: str, classes: Sequence[str]) -> Ranking:
    """What a perfect model answers: the true class, for certain."""
    return Ranking(tuple(classes), np.array([name == truth for name in classes], dtype=np.float32))


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
