"""Predictions become boxes in the picture's own pixels."""

from __future__ import annotations

import json

import numpy as np
import pytest

from registry.boxes.detection import Detections, overlaps
from registry.core.media import FloatArray, Picture
from registry.vision_tasks import detector
from registry.vision_tasks.detector import DetectorInference

NAMES = ("gun", "knife")
DETECTOR = DetectorInference(NAMES)
THRESHOLDS = {"score": 0.4, "iou": 0.5}
SIZE = 160


def picture(width: int = 320, height: int = 200) -> Picture:
    return Picture(np.full((height, width, 3), 90, np.uint8))


def predictions(*rows: tuple[float, ...]) -> dict[str, FloatArray]:
    """Rows of x1 y1 x2 y2 and class probabilities."""
    return {"predictions": np.array(rows, np.float32).T[None]}


def found(*rows: tuple[float, ...], thresholds: dict[str, float] = THRESHOLDS) -> Detections:
    prepared = DETECTOR.preprocess(picture(), {"image_size": SIZE})
    return DETECTOR.postprocess(predictions(*rows), prepared, thresholds)


def test_the_square_shows_the_whole_picture() -> None:
    prepared = DETECTOR.preprocess(picture(), {"image_size": SIZE})
    assert prepared.batch.shape == (1, 3, SIZE, SIZE)
    assert prepared.batch[0, 0, SIZE // 2, SIZE // 2] == pytest.approx(90 / 255)
    assert prepared.batch[0, 0, 0, 0] == pytest.approx(114 / 255)  # 320 x 200 leaves 30 rows above and below


def test_boxes_come_back_to_the_pictures_pixels_and_stay_inside() -> None:
    result = found((10, 40, 60, 90, 0.9, 0.1), (100, 20, 170, 140, 0.0, 0.8))
    np.testing.assert_allclose(result.boxes, [[20, 20, 120, 120], [200, 0, 320, 200]], atol=1e-3)
    assert result.classes.tolist() == [0, 1]


def test_of_overlapping_boxes_of_one_class_the_best_stays() -> None:
    result = found(
        (10, 40, 60, 90, 0.5, 0.1),
        (11, 41, 61, 91, 0.9, 0.1),
        (11, 41, 61, 91, 0.1, 0.7),  # another class: nobody's rival
        (80, 40, 130, 90, 0.6, 0.0),
    )
    assert result.scores.tolist() == pytest.approx([0.9, 0.7, 0.6])
    assert result.classes.tolist() == [0, 1, 0]


def test_faint_boxes_are_held_for_the_metric_but_not_shown() -> None:
    result = found((10, 40, 60, 90, 0.9, 0.0), (80, 40, 130, 90, 0.05, 0.0), (80, 100, 130, 120, 0.001, 0.0))
    assert len(result) == 2
    answer = result.to_json()
    assert [one["class"] for one in answer["detections"]] == ["gun"]
    assert answer["counts"] == {"gun": 1}
    assert (answer["width"], answer["height"]) == (320, 200)
    json.dumps(answer)


def test_a_confused_network_gives_three_hundred_boxes_at_most() -> None:
    rng = np.random.default_rng(1)
    corner = rng.uniform(0, 150, (20_000, 2))
    rows = np.hstack([corner, corner + 3, rng.random((20_000, 2))]).astype(np.float32)
    prepared = DETECTOR.preprocess(picture(), {"image_size": SIZE})
    result = DETECTOR.postprocess({"predictions": rows.T[None]}, prepared, THRESHOLDS)
    assert len(result) == detector.MAX_DETECTIONS
    assert (np.diff(result.scores) <= 0).all()


def test_numbers_that_are_none_find_nothing() -> None:
    result = found((np.nan, 40, 60, 90, np.nan, np.nan))
    assert len(result) == 0
    assert all(np.isfinite(list(result.statistics().values())))


def test_statistics_are_finite_named_alike_and_follow_the_result() -> None:
    full = found((10, 40, 60, 90, 0.9, 0.1), (100, 60, 130, 140, 0.0, 0.8)).statistics()
    none = Detections.none(NAMES, 320, 200).statistics()
    assert list(full) == list(none)
    assert all(np.isfinite(list(full.values()) + list(none.values())))
    assert (full["count"], full["count_knife"]) == (2, 1)
    assert none["count"] == 0 == none["max_score"]
    many = Detections.none([str(n) for n in range(80)], 320, 200).statistics()
    assert "classes" in many
    assert "count_1" not in many


def test_evidence_falls_when_the_box_is_lost_and_not_when_another_appears() -> None:
    prepared = DETECTOR.preprocess(picture(), {"image_size": SIZE})
    seen = ((10, 40, 60, 90, 0.9, 0.1), (100, 60, 130, 90, 0.0, 0.0))
    result = DETECTOR.postprocess(predictions(*seen), prepared, THRESHOLDS)
    occluded = np.concatenate(
        [
            predictions(*seen)["predictions"],
            predictions((10, 40, 60, 90, 0.2, 0.1), (100, 60, 130, 90, 0.9, 0.0))["predictions"],
        ]
    )
    strength = DETECTOR.evidence({"predictions": occluded}, prepared, result)
    assert strength.tolist() == pytest.approx([0.9, 0.2])
    number, shown, inner = DETECTOR.focus(picture(), prepared, result)
    assert (number, shown.shape, inner) == (0, (200, 320, 3), (0, 30, 160, 130))


def test_where_nothing_was_found_the_evidence_is_the_highest_score() -> None:
    prepared = DETECTOR.preprocess(picture(), {"image_size": SIZE})
    outputs = predictions((10, 40, 60, 90, 0.2, 0.1))
    result = DETECTOR.postprocess(outputs, prepared, THRESHOLDS)
    assert DETECTOR.evidence(outputs, prepared, result).tolist() == pytest.approx([0.2])


def test_overlaps_by_hand() -> None:
    a = np.array([[0, 0, 10, 10], [5, 5, 5, 9]], np.float32)
    b = np.array([[0, 0, 10, 5], [20, 20, 30, 30]], np.float32)
    np.testing.assert_allclose(overlaps(a, b), [[0.5, 0], [0, 0]])
