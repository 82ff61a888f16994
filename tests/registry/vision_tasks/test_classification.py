"""Rankings, their metrics, and the way from a picture to a class."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from registry.contract.spec import Budget, Metric, ModelSpec
from registry.core.errors import BadInput
from registry.core.media import Picture
from registry.vision_tasks import classification
from registry.vision_tasks.classification import Ranking
from registry.vision_tasks.classifier import ClassifierInference, ClassifierScore

CLASSES = ("apple", "pear", "Fig")
INFERENCE = ClassifierInference(CLASSES)
METRIC = Metric("macro_f1", "Macro F1", 0.5)
SCORE = ClassifierScore(ModelSpec("fruit", "Fruit", "classification", "torch", CLASSES, METRIC, Budget(9, 9)))


def ranking(*probabilities: float) -> Ranking:
    return Ranking(CLASSES, np.array(probabilities, dtype=np.float32))


def named(name: str) -> Ranking:
    return ranking(*(0.8 if one == name else 0.1 for one in CLASSES))


def test_the_answer_names_the_class_and_all_scores_best_first() -> None:
    said = Ranking(CLASSES, np.array([0.2, 0.1, 0.7], np.float32), {"model_size_mb": 1.5}).to_json()
    assert said["class"] == "Fig"
    assert said["probability"] == pytest.approx(0.7)
    assert list(said["scores"]) == ["Fig", "apple", "pear"]
    assert said["model_size_mb"] == 1.5
    assert json.loads(json.dumps(said)) == said


def test_statistics_are_finite_even_when_the_network_is_certain() -> None:
    sure, unsure = ranking(1, 0, 0).statistics(), ranking(1 / 3, 1 / 3, 1 / 3).statistics()
    assert all(map(math.isfinite, [*sure.values(), *unsure.values()]))
    assert sure["entropy"] == pytest.approx(0, abs=1e-6)
    assert unsure["entropy"] == pytest.approx(1, abs=1e-6)
    assert sure["margin"] == 1
    assert unsure["margin"] == pytest.approx(0)
    assert sure["p_apple"] == 1


def test_many_classes_are_not_watched_one_by_one() -> None:
    many = Ranking(tuple(map(str, range(100))), np.full(100, 0.01, np.float32))
    assert set(many.statistics()) == {"confidence", "margin", "entropy"}


def test_probabilities_of_another_number_of_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="3 classes"):
        ranking(0.5, 0.5)


def test_softmax_does_not_overflow() -> None:
    found = classification.softmax(np.array([[1000.0, 1000.0], [-1000.0, 0.0]], np.float32))
    np.testing.assert_allclose(found, [[0.5, 0.5], [0, 1]], atol=1e-7)
    assert found.dtype == np.float32


@pytest.mark.parametrize("label", ["fig", "Fig", b" FIG\n"])
def test_a_label_is_read_whatever_its_case(label: str | bytes) -> None:
    assert SCORE.truth(label) == "Fig"


@pytest.mark.parametrize("label", ["", "kiwi", b"\xff\xfe"])
def test_an_unknown_label_is_refused_with_the_classes_that_there_are(label: str | bytes) -> None:
    with pytest.raises(BadInput, match="apple, pear, Fig"):
        SCORE.truth(label)


def test_metrics_agree_with_those_worked_out_by_hand() -> None:
    truths = ["apple", "apple", "apple", "pear", "pear"]
    results = [named(n) for n in ("apple", "apple", "pear", "pear", "Fig")]
    assert classification.accuracy(results, truths) == pytest.approx(3 / 5)
    f1 = {"apple": 2 * 2 / (2 * 2 + 0 + 1), "pear": 2 * 1 / (2 * 1 + 1 + 1)}
    assert classification.per_class(results, truths) == pytest.approx(f1)
    assert classification.macro_f1(results, truths) == pytest.approx((0.8 + 0.5) / 2)
    assert classification.error_rate(results, truths) == pytest.approx(2 / 5)
    assert classification.errors(results, truths) == pytest.approx({"apple": 1 / 3, "pear": 1 / 2})


def test_one_case_scores_one_or_nothing() -> None:
    assert classification.macro_f1([named("pear")], ["pear"]) == 1
    assert classification.macro_f1([named("pear")], ["apple"]) == 0


def test_a_metric_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no cases"):
        classification.macro_f1([], [])


def test_a_picture_is_prepared_whole_and_its_place_is_known() -> None:
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[..., 2] = 255  # red
    sample = Picture(pixels, notes=("first of 3 frames",))
    prepared = INFERENCE.preprocess(sample, {"image_size": 64, "size_mb": 2.5})
    assert prepared.batch.shape == (1, 3, 64, 64)
    assert prepared.batch.dtype == np.float32
    np.testing.assert_allclose(prepared.batch[0, :, 32, 32], [1, 0, 0], atol=0.01)

    outputs = {"logits": np.array([[0.0, 3.0, 1.0]], np.float32)}
    result = INFERENCE.postprocess(outputs, prepared, {})
    assert result.name == "pear"
    assert result.to_json()["model_size_mb"] == 2.5
    assert result.to_json()["notes"] == ["first of 3 frames"]

    element, shown, (x1, y1, x2, y2) = INFERENCE.focus(sample, prepared, result)
    assert element == 0
    assert shown is sample.pixels
    assert (x2 - x1, y2 - y1) == pytest.approx((64, 32), abs=1)


def test_evidence_falls_where_the_class_is_hidden() -> None:
    result = ranking(0.1, 0.8, 0.1)
    copies = {"logits": np.array([[0, 4, 0], [4, 0, 0]], np.float32)}
    prepared = INFERENCE.preprocess(Picture(np.zeros((8, 8, 3), np.uint8)), {"image_size": 32})
    whole, hidden = INFERENCE.evidence(copies, prepared, result)
    assert whole > 0.9
    assert hidden < 0.1
