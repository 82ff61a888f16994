"""Macro F1 over the classes that occur: a rare class counts as much as a common one."""

from __future__ import annotations

from pathlib import Path

from registry.core.media import Picture
from registry.models.suspect_classification import SPEC
from registry.vision_tasks import classification
from registry.vision_tasks.classification import Ranking, per_class
from registry.vision_tasks.classification import macro_f1 as score

__all__ = ["LABEL", "check", "per_class", "positive", "result_of", "score", "truth"]

LABEL = "the name of a class"


def truth(label: Path | bytes | str) -> str:
    """A label is the name of one of the nine classes. Raises BadInput if it is another."""
    return classification.truth(label, SPEC.classes)


def check(label: bytes | str, body: bytes) -> None:
    """As `registry.contract.parts.ScorePart.check`."""
    truth(label)


def positive(truth: str) -> bool:
    """Always: every picture has a class."""
    return True


def result_of(truth: str, sample: Picture) -> Ranking:
    """What a perfect model answers."""
    return classification.result_of(truth, SPEC.classes)
