"""What an import has made of somebody's boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from registry.cases import yolo_labels
from tests.registry.made import CLASSES, HEIGHT, WIDTH, box_set


def boxes_at(root: Path, size: tuple[int, int] = (WIDTH, HEIGHT)) -> dict[str, list[tuple[str, np.ndarray]]]:
    """Case -> its boxes by name, in pixels."""
    found = {}
    for case in box_set().cases(root):
        lines, problems = yolo_labels.parse(Path(case.truth).read_text())
        assert not problems
        found[case.id] = [(CLASSES[line.number], np.multiply(line.box, size * 2)) for line in lines]
    return found
