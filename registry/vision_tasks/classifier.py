"""A classifier of whole pictures: its parts, and `classifier`, which puts them together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from registry.contract.parts import DataPart, Model, RenderPart, ScorePart, load
from registry.core.errors import BadInput
from registry.core.media import ByteArray, FloatArray, Parameters, Picture, Prepared
from registry.vision import drawing
from registry.vision.picture import to_jpeg
from registry.vision_tasks.classification import LOGITS, METRICS, Ranking, softmax
from registry.vision_tasks.networks import network_of
from registry.vision_tasks.picture_parts import PictureShifts, WholePictureInference, starter_of

if TYPE_CHECKING:
    from registry.contract.spec import ModelSpec

TOP = 5
"""Classes that the picture shows."""
LONGEST_NAME = 100
"""Characters of a class's name."""


def classifier(spec: ModelSpec, network: str = "", shifts: Sequence[str] = (), open_classes: bool = False) -> Model:
    """A classifier of pictures in class folders.

    Args:
        network: as in `registry.vision_tasks.networks`; "": `HOOKS` of the model's `network.py`.
        shifts: kinds of `registry.vision.shifts`, the demo's first; all of them where it is empty.
        open_classes: the data set defines the classes, and an import may bring others than `spec.classes`.
    """
    return Model(
        ClassifierInference(spec.classes),
        ClassifierRender(),
        ClassifierScore(spec, open_classes),
        partial(PictureShifts, shifts),
        partial(_data, spec, open_classes),
        partial(network_of, spec, network),
    )


def _data(spec: ModelSpec, open_classes: bool) -> DataPart:
    kind = load("registry.datasets.layouts:ClassSet")  # not in a service
    return kind(spec.name, spec.classes, starter_of(spec), open_classes=open_classes)  # type: ignore[no-any-return]


class ClassifierInference(WholePictureInference):
    """The whole picture into the model's classes, or those that the version was trained with."""

    def postprocess(self, outputs: Mapping[str, np.ndarray], prepared: Prepared, thresholds: Parameters) -> Ranking:
        """Output `logits`, float32 [1, C] -> a ranking of the classes."""
        classes = tuple(thresholds.get("classes", self.classes))
        return Ranking(classes, softmax(outputs[LOGITS][0]), prepared.context.extras)

    def focus(
        self, sample: Picture, prepared: Prepared, result: Ranking
    ) -> tuple[int, ByteArray, tuple[int, int, int, int]]:
        return 0, sample.pixels, prepared.context.letterbox.inner

    def evidence(self, outputs: Mapping[str, np.ndarray], prepared: Prepared, result: Ranking) -> FloatArray:
        """float32 [M]: the probability that each of M outputs gives to the class that `result` names."""
        return np.asarray(softmax(outputs[LOGITS])[:, result.index], dtype=np.float32)


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
    """The metric that `spec.metric` names, one of `classification.METRICS`.

    `open_classes`: which classes there are is the data set's to say, so a label may be any name.
    """

    LABEL = "the name of a class"

    def __init__(self, spec: ModelSpec, open_classes: bool = False) -> None:
        self.classes, self.open_classes = spec.classes, open_classes
        self._score, self._per_class = METRICS[spec.metric.name]

    def truth(self, label: Path | bytes | str) -> str:
        """The class's name: UTF-8; blanks around it do not matter, nor does case where the classes are the model's.

        Raises:
            BadInput: it is none of the model's classes; or, where classes are open, no name at all.
        """
        said = (label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)).strip()
        if self.open_classes and 0 < len(said) <= LONGEST_NAME and "\n" not in said and "\ufffd" not in said:
            return said
        known = {} if self.open_classes else {name.casefold(): name for name in self.classes}
        if said.casefold() in known:
            return known[said.casefold()]
        raise BadInput(
            f"the label is {said[:60]!r}",
            expected=f"one of {', '.join(self.classes)}" if known else "the name of a class",
            fix="send the name of one of these classes as the label" if known else "send the name alone",
        )

    def result_of(self, truth: str, sample: Picture) -> Ranking:
        classes = (truth,) if self.open_classes else self.classes
        return Ranking(classes, np.array([name == truth for name in classes], dtype=np.float32))

    def score(self, results: Sequence[Ranking], truths: Sequence[str]) -> float:
        return self._score(results, truths)

    def per_class(self, results: Sequence[Ranking], truths: Sequence[str]) -> dict[str, float]:
        return self._per_class(results, truths)
