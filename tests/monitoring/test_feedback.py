"""Labels are checked for the model when they are given: what is kept can be scored and learnt from."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from monitoring import feedback
from registry import catalog
from registry.errors import BadInput
from registry.settings import settings

BOXES = b"0 0.5 0.5 0.2 0.2\n"


def predicted(model: str) -> str:
    from monitoring.models import Prediction

    name = f"{Prediction.objects.count():032x}"
    Prediction.objects.create(
        id=name, time=datetime.now(UTC), model=model, version=1, role="champion", latency_ms=1, outcome="ok", status=200
    )
    return name


def kept(prediction: str) -> str | bytes:
    from monitoring.models import Feedback

    row = Feedback.objects.get(prediction_id=prediction)
    return row.truth_text or (settings().var / row.truth_file).read_bytes()


@pytest.mark.parametrize(
    ("model", "given", "kept_as"),
    [
        ("fruit_features", "apple", "apple"),
        ("fruit_features", "Apple", "apple"),
        ("fruit_features", b" apple\n", "apple"),
        ("object_detection", BOXES, BOXES),
        ("object_detection", b"", b""),  # nothing there
        ("face_gender", BOXES, BOXES),
    ],
)
def test_a_label_is_kept_as_the_data_set_has_it(
    operational: Path, model: str, given: str | bytes, kept_as: str | bytes
) -> None:
    prediction = predicted(model)
    feedback.give(prediction, given, "me")
    assert kept(prediction) == kept_as


@pytest.mark.parametrize("model", ["skin_segmentation", "object_detection", "weapon_detection", "face_gender"])
def test_a_class_is_no_label_where_labels_are_files(operational: Path, model: str) -> None:
    from monitoring.models import Feedback

    with pytest.raises(BadInput) as caught:
        feedback.give(predicted(model), catalog.get(model).classes[0], "me")
    assert (caught.value.http_status, caught.value.expected) == (
        422, f"a label file, as the data set of {model} has it"
    )  # fmt: skip
    assert not Feedback.objects.exists()


@pytest.mark.parametrize("model", ["fruit_features", "suspect_classification"])
@pytest.mark.parametrize("given", ["turnip", b"turnip", BOXES, b"", b"\xff\xfe", b"apple\nbanana"])
def test_what_names_no_class_is_no_label_where_labels_are_names(
    operational: Path, model: str, given: str | bytes
) -> None:
    from monitoring.models import Feedback

    with pytest.raises(BadInput) as caught:
        feedback.give(predicted(model), given, "me")
    assert caught.value.http_status == 422
    assert not Feedback.objects.exists()


def test_the_classes_are_those_of_the_data_set(operational: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = catalog.get("fruit_features")
    spec.data.synthesise(settings().data / spec.name, {"seed": 1, "train": 30, "val": 15, "test": 15})
    (settings().data / spec.name / "classes.txt").write_text("durian\nquince\n")
    prediction = predicted(spec.name)
    feedback.give(prediction, "quince", "me")
    assert kept(prediction) == "quince"
    with pytest.raises(BadInput, match="one of durian, quince"):
        feedback.give(prediction, "apple", "me")
