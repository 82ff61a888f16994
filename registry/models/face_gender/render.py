"""Faces in boxes, with the gender that was read and its probability."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from registry.boxes.labels import TrueBoxes
from registry.contract.parts import RenderPart
from registry.core.media import Picture
from registry.models.face_gender.inference import Faces
from registry.vision import drawing
from registry.vision.picture import to_jpeg


class FaceRender(RenderPart):
    """Faces in boxes, with the gender that was read and its probability."""

    @property
    def FORMATS(self) -> Mapping[str, Callable[[Any, Any], bytes]]:
        return {"image/jpeg": self.picture}

    def picture(self, sample: Picture, result: Faces | None = None, truth: TrueBoxes | None = None) -> bytes:
        """A JPEG: found faces in their label's colour, true ones dashed and green with their label below."""
        canvas, factor = drawing.enlarge(sample.pixels)
        names = result.names if result is not None else ()
        if truth is not None:
            labels = [names[n] if names else "" for n in truth.classes]
            canvas = drawing.draw_truths(canvas, truth.pixels(sample.width, sample.height) * factor, labels)
        if result is not None:
            rows = zip(result.classes, result.probabilities, strict=True)
            labels = [f"{names[n]} {100 * float(row[n]):.0f} %" for n, row in rows]
            canvas = drawing.draw_boxes(canvas, np.asarray(result.boxes * factor, np.float32), labels, result.classes)
            found = "no face found" if not len(result) else f"{len(result)} face{'s' if len(result) > 1 else ''} found"
            entries = [("truth", drawing.TRUTH)] if truth is not None else []
            canvas = drawing.add_legend(
                canvas, [*entries, *((name, drawing.class_colour(n)) for n, name in enumerate(names))], found
            )
        return to_jpeg(canvas)
