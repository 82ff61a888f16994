"""Share of pictures whose fruit is named rightly: the accuracy of a linear probe on the network's features.

Classes are compared by name, not by number: two versions may know different fruits, and each is right or wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from registry.core.errors import BadInput
from registry.core.media import Picture
from registry.models.fruit_features.inference import FruitResult

LABEL = "the name of a class"
LONGEST = 100


def truth(label: Path | bytes | str) -> str:
    """A label is a class's name; blanks around it do not matter.

    Raises:
        BadInput: it is empty, of several lines or longer than a name.
    """
    name = (label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)).strip()
    if not name or len(name) > LONGEST or "\n" in name or "�" in name:
        raise BadInput(f"the label is {name[:60]!r}", expected="the name of a class", fix="send the name alone")
    return name


def check(label: bytes | str, body: bytes) -> None:
    """As `registry.contract.parts.ScorePart.check`. Which classes there are is the data set's to say."""
    truth(label)


def score(results: Sequence[FruitResult], truths: Sequence[str]) -> float:
    """Accuracy. Raises ValueError if there is no case."""
    if not results:
        raise ValueError("accuracy of no cases is not defined")
    return sum(r.name == t for r, t in zip(results, truths, strict=True)) / len(results)


def per_class(results: Sequence[FruitResult], truths: Sequence[str]) -> dict[str, float]:
    """F1 = 2 TP / (2 TP + FP + FN) of each class that occurs among `truths`."""
    named = Counter(result.name for result in results)
    true = Counter(truths)
    hits = Counter(t for r, t in zip(results, truths, strict=True) if r.name == t)
    return {name: 2 * hits[name] / (named[name] + true[name]) for name in sorted(true)}


def positive(truth: str) -> bool:
    """Always: every picture has a class."""
    return True


def result_of(truth: str, sample: Picture) -> FruitResult:
    """What a perfect model answers, as far as the metric looks at it."""
    return FruitResult((truth,), np.ones(1, dtype=np.float32), distances=np.zeros(1, dtype=np.float32))
