"""Precision and recall at every score, counted by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from registry.boxes import mean_ap
from registry.boxes.detection import Detections
from registry.boxes.labels import TrueBoxes
from registry.contract import curves


def _found(*boxes: tuple[float, float, float, float, float, int]) -> Detections:
    rows = np.array(boxes, np.float32).reshape(-1, 6)
    return Detections(rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64), ("cat", "dog"), 100, 100, 0.25)


def _true(*boxes: tuple[float, float, float, float, int]) -> TrueBoxes:
    rows = np.array(boxes, np.float32).reshape(-1, 5)
    return TrueBoxes(rows[:, :4] / 100, rows[:, 4].astype(np.int64))


def test_a_point_counts_the_boxes_from_its_score_on(tmp_path: Path) -> None:
    results = [
        _found((0, 0, 10, 10, 0.9, 0), (0, 0, 10, 11, 0.6, 0), (50, 50, 60, 60, 0.5, 1)),
        _found((0, 0, 10, 10, 0.2, 1)),
    ]
    truths = [_true((0, 0, 10, 10, 0), (50, 50, 60, 60, 1), (80, 80, 90, 90, 1)), _true((0, 0, 10, 10, 0))]
    curve = mean_ap.curve(results, truths)
    assert (curve.cases, curve.objects) == (2, 4)
    assert [curve.precision[n] for n in (95, 90, 60, 50, 20, 0)] == [None, 1, 0.5, 0.6667, 0.5, 0.5]
    assert [curve.recall[n] for n in (95, 90, 60, 50, 20, 0)] == [0, 0.25, 0.25, 0.5, 0.5, 0.5]
    curve.write(tmp_path)
    assert curves.read(tmp_path) == curve


def test_without_a_true_box_there_is_no_recall() -> None:
    curve = mean_ap.curve([_found((0, 0, 10, 10, 0.9, 0))], [_true()])
    assert curve.precision[50] == 0
    assert curve.recall[50] is None


def test_a_bundle_without_a_curve_has_none(tmp_path: Path) -> None:
    assert curves.read(tmp_path) is None
