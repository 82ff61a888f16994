"""A detector in pictures and videos: its parts, and `detector`, which puts them together.

Exported networks take `image`, float32 [N, 3, S, S] RGB in [0, 1], and give `predictions`, float32 [N, 4 + C, A]: for
each of A anchors a box x1, y1, x2, y2 in pixels of the square, and C class probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from registry.boxes import mean_ap
from registry.boxes.detection import FLOOR, Detections, drawn, overlaps, suppress
from registry.boxes.labels import BoxLabels, TrueBoxes
from registry.contract.curves import PrecisionRecall
from registry.contract.parts import Model, RenderPart
from registry.core.errors import NotAcceptable
from registry.core.media import ByteArray, Clip, FloatArray, OnProgress, Parameters, Picture, Prediction, Prepared
from registry.video import clips, reader, video
from registry.video.clip_summary import ClipResult
from registry.vision import foreign_files
from registry.vision.beginnings import begins_like_a_picture
from registry.vision.media_types import VIDEO_OUT, is_video
from registry.vision.picture import Letterbox, to_input, to_jpeg
from registry.vision_tasks.networks import network_of
from registry.vision_tasks.picture_parts import PictureInference, PictureShifts, box_data

if TYPE_CHECKING:
    from registry.contract.spec import ModelSpec

PREDICTIONS = "predictions"
MAX_DETECTIONS = 300
MAX_CANDIDATES = 3000  # boxes that enter the suppression; an untrained network says "maybe" everywhere
EXPLAINED = 10  # boxes at most that a heat map explains
MATCH_IOU = 0.5  # of a box that still says the same, see `evidence`
METRICS: Mapping[str, float | None] = {"map50": 0.5, "map50_95": None}
"""Name of the metric -> overlap that it asks for; None: the mean over 0.5 to 0.95."""


def detector(spec: ModelSpec, network: str = "", shifts: Sequence[str] = ()) -> Model:
    """A detector of boxes, in YOLO's layout. Arguments as of `registry.vision_tasks.classifier.classifier`."""
    return Model(
        DetectorInference(spec.classes),
        DetectorRender(),
        DetectorScore(spec),
        partial(PictureShifts, shifts),
        partial(box_data, spec),
        partial(network_of, spec, network),
    )


class DetectorInference(PictureInference):
    """Picture -> square -> boxes of the model's classes; clips by `registry.video.clips`."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)

    def decode(self, body: bytes, limit: int) -> Any:
        """A picture or a clip, whichever the file is. Raises as `picture.decode` and `video.open_clip`."""
        if is_video(body):
            return video.open_clip(body, limit)
        if not begins_like_a_picture(body):
            expected = f"{foreign_files.EXPECTED}, or {reader.EXPECTED}"
            raise foreign_files.wrong_kind(body, "a picture or a video", expected)
        return super().decode(body, limit)

    def image_statistics(self, sample: Picture | Clip) -> dict[str, float]:
        """As `registry.vision.statistics`; of a clip its first frame's."""
        return super().image_statistics(_first(sample))

    def preprocess(self, sample: Picture, constants: Parameters) -> Prepared:
        """Batch float32 [1, 3, S, S] RGB in [0, 1] with S = `image_size`; context: (letterbox, notes), and not the
        picture, which is large."""
        letterbox = Letterbox.of(sample.width, sample.height, int(constants["image_size"]))
        return Prepared(to_input(letterbox.fit(sample.pixels))[None], (letterbox, sample.notes))

    def postprocess(self, outputs: Mapping[str, np.ndarray], prepared: Prepared, thresholds: Parameters) -> Detections:
        """Output `predictions`, float32 [1, 4 + C, A], of one picture or frame -> boxes in its own pixels.

        An anchor speaks for its best class only. Of boxes of one class that overlap by more than `thresholds["iou"]`
        the best one stays (greedy non-maximum suppression); `thresholds["score"]` becomes the result's threshold.
        """
        predictions: FloatArray = outputs[PREDICTIONS][0]
        letterbox: Letterbox = prepared.context[0]
        # Contiguous rows: the maximum over C strided rows is an order slower.
        best = np.ascontiguousarray(predictions[4:]).argmax(axis=0) if len(predictions) > 5 else None
        scores = predictions[4] if best is None else np.take_along_axis(predictions[4:], best[None], axis=0)[0]
        threshold = float(thresholds["score"])
        kept = np.flatnonzero(scores >= min(FLOOR, threshold))  # a NaN is not
        if len(kept) > MAX_CANDIDATES:
            kept = kept[np.argpartition(-scores[kept], MAX_CANDIDATES)[:MAX_CANDIDATES]]
        kept = kept[np.argsort(-scores[kept], kind="stable")]
        classes = np.zeros(len(kept), np.int64) if best is None else best[kept].astype(np.int64)
        # Also cuts them off at the picture's edges.
        boxes = letterbox.to_picture(np.ascontiguousarray(predictions[:4, kept].T, dtype=np.float32))
        inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        boxes, found, classes = boxes[inside], scores[kept][inside].astype(np.float32), classes[inside]
        stay = suppress(boxes, found, classes, float(thresholds["iou"]))[:MAX_DETECTIONS]
        size = letterbox.width, letterbox.height
        return Detections(boxes[stay], found[stay], classes[stay], self.classes, *size, threshold, prepared.context[1])

    def answer(
        self, outputs: Mapping[str, np.ndarray], prepared: Prepared, thresholds: Parameters, asked: Parameters
    ) -> Detections:
        """As `postprocess`. `asked` may have `score` and `iou` in place of the thresholds, `classes` (names), and
        `max_detections`, of which the best are taken."""
        own = {name: asked[name] for name in ("score", "iou") if name in asked}
        found = self.postprocess(outputs, prepared, {**thresholds, **own}).shown
        if "classes" in asked:
            numbers = [found.names.index(name) for name in asked["classes"]]
            found = found.take(np.isin(found.classes, numbers))
        return found.take(np.arange(min(len(found), int(asked.get("max_detections", MAX_DETECTIONS)))))

    def focus(
        self, sample: Picture, prepared: Prepared, result: Detections
    ) -> tuple[int, ByteArray, tuple[int, int, int, int]]:
        return 0, sample.pixels, prepared.context[0].inner

    def evidence(self, outputs: Mapping[str, np.ndarray], prepared: Prepared, result: Detections) -> FloatArray:
        """How strongly each of M occluded copies still says what `result` says: float32 [M].

        Of each box that is shown (`EXPLAINED` at most), the best score that its class still has at a box that overlaps
        it by half; summed. Where nothing was found, the highest score of anything.
        """
        predictions = np.asarray(outputs[PREDICTIONS], dtype=np.float32)
        shown = result.shown.take(np.arange(min(EXPLAINED, len(result.shown))))
        if not len(shown):
            return np.asarray(predictions[:, 4:].max(axis=(1, 2)), dtype=np.float32)
        wanted = prepared.context[0].to_network(shown.boxes).astype(np.float32)
        at = np.swapaxes(predictions[:, :4], 1, 2)  # [M, A, 4]
        total = np.zeros(len(predictions), np.float32)
        for box, number in zip(wanted, shown.classes, strict=True):
            near = overlaps(at, box[None])[..., 0] >= MATCH_IOU
            total += np.where(near, predictions[:, 4 + int(number)], 0).max(axis=1)
        return total

    def follow(
        self,
        clip: Clip,
        network: Callable[[FloatArray], dict[str, FloatArray]],
        constants: Parameters,
        thresholds: Parameters,
        media: str = "application/json",
        on_progress: OnProgress | None = None,
    ) -> Prediction:
        return clips.follow(clip, self, network, constants, thresholds, media == VIDEO_OUT, on_progress)


class DetectorRender(RenderPart):
    """Boxes with class and score, drawn over pictures and into videos."""

    @property
    def FORMATS(self) -> Mapping[str, Callable[[Any, Any], bytes]]:
        return {"image/jpeg": self.picture, VIDEO_OUT: _webm}

    def picture(
        self, sample: Picture | Clip, result: Detections | ClipResult | None = None, truth: TrueBoxes | None = None
    ) -> bytes:
        """Found objects in their class's colour, true ones dashed and green; of a clip some of its frames."""
        if isinstance(result, ClipResult):
            return to_jpeg(result.sheet)
        seen = _first(sample)
        return to_jpeg(drawn(seen.pixels, result, truth.pixels(seen.width, seen.height) if truth else None))


class DetectorScore(BoxLabels):
    """The mean average precision that `spec.metric` names, one of `METRICS`."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self._iou = METRICS[spec.metric.name]

    def result_of(self, truth: TrueBoxes, sample: Picture) -> Detections:
        boxes = truth.pixels(sample.width, sample.height)
        scores = np.ones(len(boxes), dtype=np.float32)
        return Detections(boxes, scores, truth.classes, self.classes, sample.width, sample.height)

    def score(self, results: Sequence[Detections], truths: Sequence[TrueBoxes]) -> float:
        return mean_ap.score(results, truths, self._iou)

    def per_class(self, results: Sequence[Detections], truths: Sequence[TrueBoxes]) -> dict[str, float]:
        return mean_ap.per_class(results, truths, self._iou)

    def curve(self, results: Sequence[Detections], truths: Sequence[TrueBoxes]) -> PrecisionRecall:
        return mean_ap.curve(results, truths)


def _first(sample: Picture | Clip) -> Picture:
    """The picture, or the first frame of the clip: what stands for it where one picture is wanted."""
    if isinstance(sample, Picture):
        return sample
    return Picture(next(iter(video.frames(sample))).pixels, sample.format)


def _webm(sample: Picture | Clip, result: Any) -> bytes:
    """The encoder of video/webm.

    Raises:
        NotAcceptable: the input was a picture.
    """
    if not isinstance(result, ClipResult) or result.video is None:
        raise NotAcceptable(
            "a video was asked for, but the input is a picture",
            expected="a video file as input, or application/json or image/jpeg as output",
            fix="ask for image/jpeg",
        )
    return result.video
