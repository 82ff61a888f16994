"""The model: a classifier whose result also has the features. A user's own fruits may be others: the data says."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from registry.core.errors import BadInput
from registry.core.media import Parameters, Picture, Prepared
from registry.models.fruit_features import SPEC
from registry.models.fruit_features.result import FruitResult, postprocess
from registry.vision_tasks.classifier import ClassifierInference, ClassifierRender, ClassifierScore, classifier

LONGEST = 100  # characters of a class's name


class FruitInference(ClassifierInference):
    def postprocess(self, outputs: Mapping[str, np.ndarray], prepared: Prepared, thresholds: Parameters) -> FruitResult:
        return postprocess(outputs, prepared, thresholds)


class FruitRender(ClassifierRender):
    """Also gives the features as an array."""

    @property
    def FORMATS(self) -> Mapping[str, Callable[[Any, Any], bytes]]:
        return {**super().FORMATS, "application/x-npy": _features}


def _features(sample: Picture, result: FruitResult) -> bytes:
    """The 1280 features, float32, in NumPy's own file format (NEP 1)."""
    out = io.BytesIO()
    np.save(out, np.asarray(result.features, dtype=np.float32), allow_pickle=False)
    return out.getvalue()


class FruitScore(ClassifierScore):
    """Which classes there are is the data set's to say, so a label may be any name."""

    def truth(self, label: Path | bytes | str) -> str:
        """A label is a class's name; blanks around it do not matter.

        Raises:
            BadInput: it is empty, of several lines or longer than a name.
        """
        name = (label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)).strip()
        if not name or len(name) > LONGEST or "\n" in name or "\ufffd" in name:
            raise BadInput(f"the label is {name[:60]!r}", expected="the name of a class", fix="send the name alone")
        return name

    def result_of(self, truth: str, sample: Picture) -> FruitResult:
        """What a perfect model answers, as far as the metric looks at it."""
        return FruitResult((truth,), np.ones(1, dtype=np.float32), distances=np.zeros(1, dtype=np.float32))


# The demo's shift first. "camera" is what fruit suffers from: colour is half of what tells it apart.
SHIFTS = ("camera", "night", "blur", "fog", "sensor-noise", "low-resolution", "jpeg", "glare")
MODEL = replace(
    classifier(SPEC, shifts=SHIFTS, open_classes=True),
    inference=FruitInference(SPEC),
    render=FruitRender(),
    score=FruitScore(SPEC),
)
