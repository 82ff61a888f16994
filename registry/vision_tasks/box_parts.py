"""Parts of every model whose labels are boxes: its data set and its labels, without anything of video."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from registry.contract.parts import DataPart, ScorePart, load
from registry.vision_tasks import mean_ap
from registry.vision_tasks.mean_ap import TrueBoxes
from registry.vision_tasks.picture_parts import starter_of

if TYPE_CHECKING:
    from registry.contract.spec import ModelSpec


def box_data(spec: ModelSpec) -> DataPart:
    """Pictures with boxes of the model's classes."""
    return load("registry.datasets.layouts:BoxSet")(spec.name, spec.classes, starter_of(spec))  # type: ignore[no-any-return]


class BoxLabels(ScorePart):
    """Labels in YOLO's form, of the model's classes."""

    LABEL = mean_ap.LABEL

    def __init__(self, spec: ModelSpec) -> None:
        self.classes = spec.classes

    def truth(self, label: Path | bytes | str) -> TrueBoxes:
        return mean_ap.truth(label, self.classes)

    def check(self, label: bytes | str, body: bytes) -> None:
        """Shares fit a picture of any size: the label alone is looked at."""
        mean_ap.check(label, self.classes)

    def positive(self, truth: TrueBoxes) -> bool:
        return mean_ap.positive(truth)
