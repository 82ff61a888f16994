"""A classifier of whole pictures: its parts, and `classifier`, which puts them together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from registry.contract.parts import DataPart, Model, RenderPart, ScorePart, load
from registry.core.media import FloatArray, Parameters, Picture, Prepared
from registry.vision import drawing
from registry.vision.picture import to_jpeg
from registry.vision_tasks import classification
from registry.vision_tasks.classification import METRICS, Ranking
from registry.vision_tasks.networks import network_of
from registry.vision_tasks.picture_parts import PictureInference, PictureShifts, starter_of

if TYPE_CHECKING:
    from registry.contract.spec import ModelSpec

TOP = 5
"""Classes that the picture shows."""


def classifier(spec: ModelSpec, network: str = "", shifts: Sequence[str] = (), open_classes: bool = False) -> Model:
    """A classifier of pictures in class folders.

    Args:
        network: as in `registry.vision_tasks.networks`; "": `HOOKS` of the model's `network.py`.
        shifts: kinds of `registry.vision.shifts`, the demo's first; all of them where it is empty.
        open_classes: the data set defines the classes, and an import may bring others than `spec.classes`.
    """
    return Model(
        ClassifierInference(spec),
        ClassifierRender(),
        ClassifierScore(spec),
        partial(PictureShifts, shifts),
        partial(_data, spec, open_classes),
        partial(network_of, spec, network),
    )


def _data(spec: ModelSpec, open_classes: bool) -> DataPart:
    kind = load("registry.datasets.layouts:ClassSet")  # not in a service
    return kind(spec.name, spec.classes, starter_of(spec), open_classes=open_classes)  # type: ignore[no-any-return]


class ClassifierInference(PictureInference):
    """`registry.vision_tasks.classification` with the model's classes, or those that the version was trained with."""

    def __init__(self, spec: ModelSpec) -> None:
        self.classes = spec.classes

    def preprocess(self, sample: Picture, constants: Parameters) -> Prepared:
        return classification.preprocess(sample, constants)

    def postprocess(self, outputs: Mapping[str, np.ndarray], prepared: Prepared, thresholds: Parameters) -> Ranking:
        return classification.postprocess(outputs, prepared, thresholds.get("classes", self.classes))

    def focus(self, sample: Picture, prepared: Prepared, result: Ranking) -> Any:
        return classification.focus(sample, prepared, result)

    def evidence(self, outputs: Mapping[str, np.ndarray], prepared: Prepared, result: Ranking) -> FloatArray:
        return classification.evidence(outputs, prepared, result)


class ClassifierRender(RenderPart):
    """The picture beside its most probable classes."""

    @property
    def FORMATS(self) -> Mapping[str, Callable[[Any, Any], bytes]]:
        return {"image/jpeg": self.picture}

    def picture(self, sample: Picture, result: Ranking | None = None, truth: str | None = None) -> bytes:
        """A JPEG: the picture with a bar for each of the top classes; the true one is marked."""
        if result is None:
            return to_jpeg(sample.pixels)
        top = result.top(TOP)
        names = [name.replace("_", " ") for name, _ in top]
        shares, numbers = [share for _, share in top], [result.classes.index(name) for name, _ in top]
        return to_jpeg(drawing.draw_bars(sample.pixels, names, shares, numbers, (truth or "").replace("_", " ")))


class ClassifierScore(ScorePart):
    """The metric that `spec.metric` names, one of `classification.METRICS`."""

    LABEL = "the name of a class"

    def __init__(self, spec: ModelSpec) -> None:
        self.classes = spec.classes
        self._score, self._per_class = METRICS[spec.metric.name]

    def truth(self, label: Path | bytes | str) -> str:
        """The class's name. Raises BadInput if it is not one of the model's."""
        return classification.truth(label, self.classes)

    def result_of(self, truth: str, sample: Picture) -> Ranking:
        return classification.result_of(truth, self.classes)

    def score(self, results: Sequence[Ranking], truths: Sequence[str]) -> float:
        return self._score(results, truths)

    def per_class(self, results: Sequence[Ranking], truths: Sequence[str]) -> dict[str, float]:
        return self._per_class(results, truths)
