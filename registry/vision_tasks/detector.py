"""A detector in pictures and videos: its parts, and `detector`, which puts them together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from registry.contract.parts import Model, RenderPart
from registry.core.media import Clip, FloatArray, OnProgress, Parameters, Picture, Prediction, Prepared
from registry.vision_tasks import clips, detection, mean_ap
from registry.vision_tasks.box_parts import BoxLabels, box_data
from registry.vision_tasks.detection import Detections
from registry.vision_tasks.mean_ap import TrueBoxes
from registry.vision_tasks.networks import network_of
from registry.vision_tasks.picture_parts import PictureInference, PictureShifts

if TYPE_CHECKING:
    from registry.contract.spec import ModelSpec

METRICS: Mapping[str, float | None] = {"map50": 0.5, "map50_95": None}
"""Name of the metric -> overlap that it asks for; None: the mean over 0.5 to 0.95."""


def detector(spec: ModelSpec, network: str = "", shifts: Sequence[str] = ()) -> Model:
    """A detector of boxes, in YOLO's layout. Arguments as of `registry.vision_tasks.classifier.classifier`."""
    return Model(
        DetectorInference(spec),
        DetectorRender(),
        DetectorScore(spec),
        partial(PictureShifts, shifts),
        partial(box_data, spec),
        partial(network_of, spec, network),
    )


class DetectorInference(PictureInference):
    """`registry.vision_tasks.detection` with the model's classes; clips by `registry.vision_tasks.clips`."""

    def __init__(self, spec: ModelSpec) -> None:
        self.classes = spec.classes
        self._follow = clips.follower(self.preprocess, self.postprocess, self.image_statistics)

    def decode(self, body: bytes, limit: int) -> Any:
        return clips.decode(body, limit)

    def preprocess(self, sample: Picture, constants: Parameters) -> Prepared:
        return detection.preprocess(sample, constants)

    def postprocess(self, outputs: Mapping[str, np.ndarray], prepared: Prepared, thresholds: Parameters) -> Detections:
        return detection.postprocess(outputs, prepared, thresholds, self.classes)

    def image_statistics(self, sample: Picture | Clip) -> dict[str, float]:
        return clips.image_statistics(sample)

    def focus(self, sample: Picture, prepared: Prepared, result: Detections) -> Any:
        return detection.focus(sample, prepared, result)

    def evidence(self, outputs: Mapping[str, np.ndarray], prepared: Prepared, result: Detections) -> FloatArray:
        return detection.evidence(outputs, prepared, result)

    def follow(
        self,
        clip: Clip,
        network: Callable[[FloatArray], dict[str, FloatArray]],
        constants: Parameters,
        thresholds: Parameters,
        media: str = "application/json",
        on_progress: OnProgress | None = None,
    ) -> Prediction:
        return self._follow(clip, network, constants, thresholds, media, on_progress)


class DetectorRender(RenderPart):
    """Boxes with class and score, drawn over pictures and into videos."""

    @property
    def FORMATS(self) -> Mapping[str, Callable[[Any, Any], bytes]]:
        return clips.FORMATS

    def picture(self, sample: Any, result: Any = None, truth: TrueBoxes | None = None) -> bytes:
        return clips.picture(sample, result, truth)


class DetectorScore(BoxLabels):
    """The mean average precision that `spec.metric` names, one of `METRICS`."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self._iou = METRICS[spec.metric.name]

    def result_of(self, truth: TrueBoxes, sample: Picture) -> Detections:
        return mean_ap.result_of(truth, sample, self.classes)

    def score(self, results: Sequence[Detections], truths: Sequence[TrueBoxes]) -> float:
        return mean_ap.score(results, truths, self._iou)

    def per_class(self, results: Sequence[Detections], truths: Sequence[TrueBoxes]) -> dict[str, float]:
        return mean_ap.per_class(results, truths, self._iou)
