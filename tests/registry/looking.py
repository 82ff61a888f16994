"""A network that looks at one place of its input and answers only while it sees what was there. Not trained: written
down, so that what an explanation must show is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from registry.contract.spec import ModelSpec
from registry.core.media import FloatArray, Parameters, Prediction, Prepared
from registry.versions.predictor import Predictor


@dataclass(frozen=True, eq=False)
class Looking:
    """Stands in for a `Predictor`: the model's own parts around this network.

    Attributes:
        element: the part of the batch that it knows.
        at: the place (x1, y1, x2, y2), pixels of the network's input.
        elements: how many went through the network.
    """

    spec: ModelSpec
    prepared: Prepared
    element: FloatArray
    at: tuple[int, int, int, int]
    asked: list[int]

    @classmethod
    def over(cls, spec: ModelSpec, prepared: Prepared, number: int) -> Looking:
        """At the most varied of the places on a 4 x 4 grid in the middle of that element."""
        element = prepared.batch[number : number + 1]
        _, height, width = prepared.batch.shape[1:]
        high, wide = height // 6, width // 6
        tops, lefts = (np.linspace(0.22, 0.78, 4) * edge - size / 2 for edge, size in ((height, high), (width, wide)))
        places = [(int(x), int(y), int(x) + wide, int(y) + high) for y in tops for x in lefts]
        return cls(spec, prepared, element, max(places, key=lambda at: float(variety(element, at)[0])), [])

    def prepare(self, sample: Any) -> Prepared:
        return self.prepared

    def run(self, batch: FloatArray) -> dict[str, FloatArray]:
        """Outputs of every kind that a model here has; `share` of what the place showed is left."""
        self.asked.append(len(batch))
        n, classes = len(batch), len(self.spec.classes)
        share = np.clip(variety(batch, self.at) / variety(self.element, self.at), 0, 1)
        x1, y1, x2, y2 = self.at
        mask = np.full((n, classes, *batch.shape[2:]), -6, np.float32)
        mask[:, :1, y1:y2, x1:x2] = (12 * share - 6)[:, None, None, None]
        logits = np.zeros((n, classes), np.float32)
        logits[:, 0] = 6 * share
        predictions = np.zeros((n, 4 + classes, 1), np.float32)
        predictions[:, :4, 0] = self.at
        predictions[:, 4, 0] = share
        flat = np.zeros((n, 8), np.float32)
        far = np.ones((n, classes), np.float32)
        return {
            "mask": mask, "logits": logits, "predictions": predictions, "embedding": flat, "pca": flat, "nearest": far,
        }  # fmt: skip

    def predict(self, sample: Any, thresholds: Parameters) -> Prediction:
        result = self.spec.inference.postprocess(self.run(self.prepared.batch), self.prepared, thresholds)
        return Prediction(sample, result, {}, {}, np.zeros(1, np.float32), {})

    def as_predictor(self) -> Predictor:
        return cast(Predictor, self)


def variety(batch: FloatArray, at: tuple[int, int, int, int]) -> FloatArray:
    """float32 [N]: how varied the place is."""
    x1, y1, x2, y2 = at
    return np.asarray(batch[:, :, y1:y2, x1:x2].std(axis=(2, 3)).mean(axis=1), dtype=np.float32)
