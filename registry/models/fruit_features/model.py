"""The model: a classifier whose result also has the features. A user's own fruits may be others: the data says."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from registry.core.media import Parameters, Picture, Prepared
from registry.models.fruit_features import SPEC
from registry.models.fruit_features.result import FruitResult
from registry.vision_tasks.classifier import ClassifierInference, ClassifierRender, ClassifierScore, classifier


class FruitInference(ClassifierInference):
    def postprocess(self, outputs: Mapping[str, np.ndarray], prepared: Prepared, thresholds: Parameters) -> FruitResult:
        """Outputs `logits` [1, C], `embedding` [1, 1280], `pca` [1, K] and `nearest` [1, C], all float32."""
        said = super().postprocess(outputs, prepared, thresholds)
        names = {"features": "embedding", "pca": "pca", "distances": "nearest"}
        rows = {field: np.asarray(outputs[name][0], dtype=np.float32) for field, name in names.items()}
        return FruitResult(said.classes, said.probabilities, said.extras, **rows)


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
    """A perfect answer has distances, too."""

    def result_of(self, truth: str, sample: Picture) -> FruitResult:
        """What a perfect model answers, as far as the metric looks at it."""
        return FruitResult((truth,), np.ones(1, dtype=np.float32), distances=np.zeros(1, dtype=np.float32))


# The demo's shift first. "camera" is what fruit suffers from: colour is half of what tells it apart.
SHIFTS = ("camera", "night", "blur", "fog", "sensor-noise", "low-resolution", "jpeg", "glare")
MODEL = replace(
    classifier(SPEC, shifts=SHIFTS, open_classes=True),
    inference=FruitInference(SPEC.classes),
    render=FruitRender(),
    score=FruitScore(SPEC, open_classes=True),
)
