"""Labels of boxes, in YOLO's form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from registry.cases import yolo_labels
from registry.contract.parts import ScorePart
from registry.core.errors import BadInput
from registry.core.media import FloatArray

if TYPE_CHECKING:
    from registry.contract.spec import ModelSpec

MAX_LABEL_BYTES = 1 << 20
"""Of a label: some 25,000 boxes. A picture has a few hundred at most."""


@dataclass(frozen=True, eq=False)
class TrueBoxes:
    """What is really in a picture.

    Attributes:
        boxes: float32 [T, 4], x1 y1 x2 y2 in shares of the picture's width and height.
        classes: int64 [T].
    """

    boxes: FloatArray
    classes: NDArray[np.int64]

    def pixels(self, width: int, height: int) -> FloatArray:
        """float32 [T, 4] in pixels of a picture of that size."""
        return np.asarray(self.boxes * np.array([width, height, width, height], np.float32), dtype=np.float32)


class BoxLabels(ScorePart):
    """Labels in YOLO's form, of the model's classes."""

    LABEL = (
        "a text file with a line for each object: class number, then centre x, centre y, width and height in shares of "
        "the picture; a blank line where there is nothing"
    )

    def __init__(self, spec: ModelSpec) -> None:
        self.classes = spec.classes

    def truth(self, label: Path | bytes | str) -> TrueBoxes:
        """Reads a label, a file or its bytes: `class cx cy w h` a line, in shares; nothing: no object.

        Raises:
            BadInput: a line is of another form, or names a class that is not one of the model's, or a box has no size
                or reaches out of the picture.
        """
        body = label if isinstance(label, bytes) else Path(label).read_bytes()
        if len(body) > MAX_LABEL_BYTES:
            raise self._not_a_label([f"it has {len(body):,} bytes"])
        lines, problems = yolo_labels.parse(body.decode("utf-8-sig", "replace"))
        problems = problems or yolo_labels.problems_of(lines, len(self.classes))
        if problems:
            raise self._not_a_label(problems)
        boxes = np.array([line.box for line in lines], dtype=np.float32).reshape(-1, 4)
        return TrueBoxes(boxes, np.array([line.number for line in lines], dtype=np.int64))

    def check(self, label: bytes | str, body: bytes) -> None:
        """Stricter than `truth`: in a label from outside, a line of more than five numbers may be an outline, a pose or
        two boxes. Shares fit a picture of any size: the label alone is looked at."""
        if isinstance(label, str):
            raise BadInput(f"the label is the text {label[:80]!r}", expected=self.LABEL, fix="send it as a file")
        self.truth(label)
        lines, _ = yolo_labels.parse(label.decode("utf-8-sig", "replace"))
        if any(line.polygon for line in lines):
            raise self._not_a_label(["a line has more than five numbers"])

    def positive(self, truth: TrueBoxes) -> bool:
        return len(truth.classes) > 0

    def _not_a_label(self, problems: Sequence[str]) -> BadInput:
        return BadInput(
            f"the label cannot be used: {'; '.join(problems[:5])[:400]}",
            expected=f"{self.LABEL}; class numbers are 0 to {len(self.classes) - 1}",
            fix="export the labels in YOLO's detection format, with this model's classes",
        )
