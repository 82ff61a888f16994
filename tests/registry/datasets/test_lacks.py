"""A class of the model without a training picture is named, whatever the labels are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from registry.cases import mask_labels
from tests.registry.made import CLASSES, box_set, class_set, mask_set

FEW = {"seed": 1, "train": 9, "val": 3, "test": 3}
LACKING = "no training picture of 2 of the 3 classes, which cannot be learnt: square, yellow_vest"


def test_a_complete_data_set_lacks_nothing(tmp_path: Path) -> None:
    for kind in (class_set(), box_set(), mask_set()):
        root = tmp_path / kind.labels
        root.mkdir()
        kind.synthesise(root, FEW)
        assert kind.lacks(root) == ""


def test_boxes_of_one_class_only_and_a_damaged_label(tmp_path: Path) -> None:
    box_set().synthesise(tmp_path, FEW)
    labels = sorted((tmp_path / "labels" / "train").iterdir())
    for path in labels:
        path.write_text("0 0.5 0.5 0.2 0.2\n")
    labels[0].write_bytes(b"\xff\xfe\x00")
    assert box_set().lacks(tmp_path) == LACKING


def test_masks_of_one_class_only(tmp_path: Path) -> None:
    mask_set().synthesise(tmp_path, FEW)
    for path in (tmp_path / "masks" / "train").iterdir():
        path.write_bytes(mask_labels.encode(np.ones((8, 8), np.uint8), len(CLASSES)))
    assert mask_set().lacks(tmp_path) == LACKING
