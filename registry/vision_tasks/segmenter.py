"""A segmentation of pictures: its parts, and `segmenter`, which puts them together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from registry.cases import mask_labels
from registry.contract.parts import DataPart, Model, RenderPart, load
from registry.core.errors import BadInput
from registry.core.media import FloatArray, Parameters, Picture, Prepared
from registry.vision import drawing
from registry.vision.beginnings import upright_size
from registry.vision.picture import to_jpeg
from registry.vision_tasks import masks, segmentation
from registry.vision_tasks.masks import MaskScore, TrueMask
from registry.vision_tasks.networks import network_of
from registry.vision_tasks.picture_parts import PictureShifts, WholePictureInference, starter_of
from registry.vision_tasks.segmentation import Segments

if TYPE_CHECKING:
    from registry.contract.spec import ModelSpec


def segmenter(spec: ModelSpec, network: str = "", shifts: Sequence[str] = ()) -> Model:
    """A segmentation of pictures with masks. Arguments as of `registry.vision_tasks.classifier.classifier`."""
    return Model(
        SegmenterInference(spec.classes),
        SegmenterRender(),
        SegmenterScore(spec),
        partial(PictureShifts, shifts),
        partial(_data, spec),
        partial(network_of, spec, network),
    )


def _data(spec: ModelSpec) -> DataPart:
    return load("registry.datasets.layouts:MaskSet")(spec.name, spec.classes, starter_of(spec))  # type: ignore[no-any-return]


class SegmenterInference(WholePictureInference):
    """`registry.vision_tasks.segmentation` with the model's classes, or those that the version was trained with."""

    def postprocess(self, outputs: Mapping[str, np.ndarray], prepared: Prepared, thresholds: Parameters) -> Segments:
        return segmentation.postprocess(outputs, prepared, thresholds, thresholds.get("classes", self.classes))

    def focus(self, sample: Picture, prepared: Prepared, result: Segments) -> Any:
        return segmentation.focus(sample, prepared, result)

    def evidence(self, outputs: Mapping[str, np.ndarray], prepared: Prepared, result: Segments) -> FloatArray:
        return segmentation.evidence(outputs, prepared, result)


class SegmenterRender(RenderPart):
    """The mask as a PNG, or drawn over the picture."""

    @property
    def FORMATS(self) -> Mapping[str, Callable[[Any, Any], bytes]]:
        return {"image/png": self.mask, "image/jpeg": self.picture}

    def mask(self, sample: Picture, result: Segments) -> bytes:
        """As `registry.cases.mask_labels.encode`: it can be sent back as a label."""
        return mask_labels.encode(result.mask, len(result.classes))

    def picture(self, sample: Picture, result: Segments | None = None, truth: TrueMask | None = None) -> bytes:
        """A JPEG: each class filled in its colour, the truth outlined in green, and a legend with the areas."""
        canvas, factor = drawing.enlarge(sample.pixels)
        canvas, line = canvas.copy(), drawing.Style.of(canvas).line
        legend = []
        for number, (name, area) in enumerate(result.areas().items() if result else ()):
            if result and area:
                colour = drawing.class_colour(number)
                masks.fill(canvas, _enlarged(result.mask == number + 1, factor), colour, line)
                legend.append((f"{name.replace('_', ' ')} {100 * area / result.mask.size:.1f} %", colour))
        if truth is not None and truth.mask.shape == sample.pixels.shape[:2]:
            for number in range(1, int(truth.mask.max(initial=0)) + 1):
                masks.outline(canvas, _enlarged(truth.mask == number, factor), drawing.TRUTH, line)
            legend.append(("truth", drawing.TRUTH))
        note = "nothing found" if result and not result.mask.any() else ""
        return to_jpeg(drawing.add_legend(canvas, legend, note) if legend or note else canvas)


def _enlarged(mask: np.ndarray, factor: int) -> np.ndarray:
    flags = mask.astype(np.uint8)
    return cv2.resize(flags, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST) if factor > 1 else flags


class SegmenterScore(MaskScore):
    """Masks in picture files, of the picture's size."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.LABEL = mask_labels.label_text(spec.classes)

    def truth(self, label: Path | bytes | str) -> TrueMask:
        """Reads a mask: a file or its bytes. Raises BadInput and its kin."""
        body = label if isinstance(label, bytes) else Path(label).read_bytes()
        return TrueMask(mask_labels.decode(body, self.classes)[0])

    def check(self, label: bytes | str, body: bytes) -> None:
        """Stricter than `truth`: no greys between the values. A mask of another size is not decoded."""
        if isinstance(label, str):
            raise BadInput(f"the label is the text {label[:80]!r}", expected=self.LABEL, fix="send the mask as a file")
        size, mask = upright_size(body), upright_size(label)
        if size and mask and size != mask:
            raise masks.other_shape(mask[::-1], size[::-1])
        if mask_labels.decode(label, self.classes)[1]:
            raise BadInput(
                "the label holds greys between black and white", expected=self.LABEL, fix="save it as PNG, unsmoothed"
            )

    def result_of(self, truth: TrueMask, sample: Picture) -> Segments:
        return Segments(truth.mask, self.classes)
