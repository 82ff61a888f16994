"""Average precision agrees with a known implementation, and is quick enough for a bootstrap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from registry.boxes import mean_ap
from registry.boxes.detection import Detections
from registry.boxes.labels import TrueBoxes
from registry.contract.spec import Budget, Metric, ModelSpec
from registry.core.errors import BadInput
from registry.vision_tasks.detector import DetectorScore

NAMES = ("gun", "knife", "bat")
SIDE = 200


def scene(rng: np.random.Generator, names: tuple[str, ...] = NAMES, spurious: int = 6) -> tuple[Detections, TrueBoxes]:
    """A picture with true boxes, found ones that are off by chance, and some that are nothing."""
    count = int(rng.integers(0, 5))
    corner, side = rng.uniform(0, 130, (count, 2)), rng.uniform(15, 60, (count, 2))
    true = np.hstack([corner, corner + side]).astype(np.float32)
    classes = rng.integers(0, len(names), count)
    near = np.repeat(true, 2, axis=0) + rng.normal(0, 4, (2 * count, 4)).clip(-7, 7)
    far = rng.uniform(0, 120, (spurious, 2))
    boxes = np.vstack([near, np.hstack([far, far + rng.uniform(15, 70, (spurious, 2))])]).astype(np.float32)
    said = np.concatenate([np.repeat(classes, 2), rng.integers(0, len(names), spurious)])
    scores = np.sort(rng.random(len(boxes)).astype(np.float32))[::-1].copy()
    mixed = rng.permutation(len(boxes))
    found = Detections(boxes[mixed], scores, said[mixed].astype(np.int64), names, SIDE, SIDE, threshold=0.5)
    return found, TrueBoxes(true / SIDE, classes.astype(np.int64))


def test_it_agrees_with_supervision() -> None:
    import supervision as sv
    from supervision.metrics import MeanAveragePrecision

    rng = np.random.default_rng(3)
    pairs = [scene(rng) for _ in range(60)]
    metric = MeanAveragePrecision()
    for found, true in pairs:
        metric.update(
            [sv.Detections(xyxy=found.boxes, confidence=found.scores, class_id=found.classes)],
            [sv.Detections(xyxy=true.pixels(SIDE, SIDE), class_id=true.classes)],
        )
    known = metric.compute()
    results, truths = [found for found, _ in pairs], [true for _, true in pairs]
    assert 0.1 < known.map50 < 0.95
    assert mean_ap.score(results, truths, 0.5) == pytest.approx(known.map50, abs=1e-6)
    assert mean_ap.score(results, truths, 0.75) == pytest.approx(known.map75, abs=1e-6)
    assert mean_ap.score(results, truths, None) == pytest.approx(known.map50_95, abs=1e-6)
    by_class = mean_ap.per_class(results, truths)
    assert list(by_class) == list(NAMES)
    assert np.mean(list(by_class.values())) == pytest.approx(known.map50, abs=1e-6)


def test_a_bootstrap_sample_scores_as_if_it_were_a_set_of_its_own() -> None:
    rng = np.random.default_rng(5)
    pairs = [scene(rng) for _ in range(40)]
    results, truths = [found for found, _ in pairs], [true for _, true in pairs]
    mean_ap.score(results, truths)
    for _ in range(5):
        rows = rng.integers(0, 40, 40)
        pooled = mean_ap.score([results[r] for r in rows], [truths[r] for r in rows], None)
        # Copies are other objects: nothing is known of them, and no picture counts twice.
        copies = [results[r].take(np.arange(len(results[r]))) for r in rows]
        own = [TrueBoxes(truths[r].boxes, truths[r].classes) for r in rows]
        assert pooled == pytest.approx(mean_ap.score(copies, own, None), abs=1e-9)


@pytest.mark.parametrize(
    ("boxes", "scores", "expected"),
    [
        ([[10, 10, 50, 50]], [0.9], 1.0),
        ([[10, 10, 50, 50], [10, 10, 50, 50]], [0.9, 0.8], 1.0),  # the second is a false alarm, but later
        ([[120, 120, 150, 150], [10, 10, 50, 50]], [0.9, 0.8], 0.5),
        ([[10, 10, 50, 29]], [0.9], 0.0),  # overlaps by less than half
        ([], [], 0.0),
    ],
)
def test_small_cases_by_hand(boxes: list[list[float]], scores: list[float], expected: float) -> None:
    found = Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.zeros(len(scores), np.int64),
        ("gun",),
        SIDE,
        SIDE,
    )
    true = TrueBoxes(np.array([[10, 10, 50, 50]], np.float32) / SIDE, np.zeros(1, np.int64))
    assert mean_ap.score([found], [true]) == pytest.approx(expected, abs=0.01)
    assert mean_ap.per_class([found], [true]) == {}


def test_a_picture_without_objects_is_right_when_nothing_is_shown() -> None:
    nothing = TrueBoxes(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    box = np.array([[10, 10, 50, 50]], np.float32)
    faint = Detections(box, np.array([0.2], np.float32), np.zeros(1, np.int64), ("gun",), SIDE, SIDE, threshold=0.5)
    loud = Detections(box, np.array([0.7], np.float32), np.zeros(1, np.int64), ("gun",), SIDE, SIDE, threshold=0.5)
    assert mean_ap.score([faint], [nothing]) == 1.0
    assert mean_ap.score([loud], [nothing]) == 0.0
    with pytest.raises(ValueError):
        mean_ap.score([], [])


def test_labels_are_read_from_files_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("2 0.5 0.25 0.2 0.1\n\n0 0.1 0.1 0.2 0.2\n")
    names, metric = ("apple", "pear", "plum"), Metric("map50", "mAP50", 0.5)
    labels = DetectorScore(ModelSpec("fruit", "Fruit", "detection", "ultralytics", names, metric, Budget(9, 9)))
    true = labels.truth(tmp_path / "a.txt")
    assert true.classes.tolist() == [2, 0]
    np.testing.assert_allclose(true.pixels(100, 200), [[40, 40, 60, 60], [0, 0, 20, 40]], atol=1e-4)
    assert len(labels.truth(b"").classes) == 0
    with pytest.raises(BadInput, match="line 1"):
        labels.truth(b"gun 1 2 3 4\n")
    with pytest.raises(BadInput, match="class number 3, and there are 3"):
        labels.truth(b"3 0.5 0.25 0.2 0.1\n")
