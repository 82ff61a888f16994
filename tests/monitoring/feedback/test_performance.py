"""Labels are checked for the model when they are given: what is kept can be scored and learnt from."""

from __future__ import annotations

import gzip
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monitoring.feedback import performance
from monitoring.log import inputs
from registry.contract import catalog
from registry.core.errors import BadInput, Refused
from registry.core.files import write_file
from registry.core.settings import settings
from tests.bundles import AFFINE

BOXES = b"0 0.5 0.5 0.2 0.2\n"


def predicted(model: str, body: bytes = b"a picture", **row: object) -> str:
    """A prediction in the log, and its input where inputs are kept."""
    from monitoring.log.models import Prediction

    name, when = f"{Prediction.objects.count():032x}", datetime.now(UTC)
    fields = {"role": "live", "latency_ms": 1, "outcome": "ok", "status": 200, "input_suffix": ".bin", **row}
    Prediction.objects.create(id=name, time=when, model=model, version=1, **fields)
    if body:
        write_file(inputs.path_of(model, when.timestamp(), name, ".bin"), body)
    return name


def kept(prediction: str) -> str | bytes:
    from monitoring.log.models import Feedback

    row = Feedback.objects.get(prediction_id=prediction)
    return row.truth_text or inputs.read(settings().var / row.truth_file)


@pytest.mark.parametrize(
    ("model", "given", "kept_as"),
    [
        ("fruit_features", "apple", "apple"),
        ("fruit_features", "Apple", "apple"),
        ("fruit_features", b" apple\n", "apple"),
        ("object_detection", BOXES, BOXES),
        ("object_detection", b"", b""),  # nothing there
        ("object_detection", b"\xef\xbb\xbf" + BOXES, b"\xef\xbb\xbf" + BOXES),
        ("face_gender", BOXES, BOXES),
    ],
)
def test_a_label_is_kept_as_the_data_set_has_it(
    operational: Path, model: str, given: str | bytes, kept_as: str | bytes
) -> None:
    prediction = predicted(model)
    performance.give_label(prediction, given, "me")
    assert kept(prediction) == kept_as


@pytest.mark.parametrize("model", ["skin_segmentation", "object_detection", "weapon_detection", "face_gender"])
def test_a_class_is_no_label_where_labels_are_files(operational: Path, model: str) -> None:
    spec = catalog.get(model)
    with pytest.raises(BadInput) as caught:
        performance.give_label(predicted(model, scan()), spec.classes[0], "me")
    assert caught.value.http_status == 422
    assert caught.value.expected == spec.score.LABEL
    refused_all()


NO_BOXES = {
    "a class number beyond memory": b"9000000000000 0.5 0.5 0.1 0.1",
    "one beyond 64 bits": b"1e300 0.5 0.5 0.1 0.1",
    "the first that is not there": b"80 0.5 0.5 0.1 0.1",
    "negative": b"-1 0.5 0.5 0.1 0.1",
    "half a class": b"0.5 0.5 0.5 0.1 0.1",
    "NaN": b"0 nan 0.5 0.1 0.1",
    "a class that is NaN": b"nan 0.5 0.5 0.1 0.1",
    "infinite": b"0 0.5 0.5 inf 0.1",
    "no size": b"0 0.5 0.5 0 0.1",
    "outside": b"0 5 5 0.1 0.1",
    "pixels": b"0 320 240 50 60",
    "an outline or a pose": b"0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5",
    "two boxes": b"0 0.5 0.5 0.1 0.1 0.2 0.2 0.1 0.1",
    "a picture": b"\x89PNG\r\n\x1a\n\0\0",
    "megabytes": b"0 0.5 0.5 0.1 0.1\n" * 70_000,
}


@pytest.mark.parametrize("given", NO_BOXES)
@pytest.mark.parametrize("model", ["object_detection", "weapon_detection", "face_gender"])
def test_what_is_no_box_of_the_models_classes_is_refused_at_once(operational: Path, model: str, given: str) -> None:
    with pytest.raises(BadInput) as caught:
        performance.give_label(predicted(model), NO_BOXES[given], "me")
    last = len(catalog.get(model).classes) - 1
    assert f"class numbers are 0 to {last}" in caught.value.expected
    assert len(str(caught.value)) < 1000
    refused_all()


def test_the_first_class_that_a_model_of_two_lacks_is_refused(operational: Path) -> None:
    with pytest.raises(BadInput, match="class number 2, and there are 2 classes"):
        performance.give_label(predicted("face_gender"), b"2 0.5 0.5 0.1 0.1", "me")


def scan(voxels: np.ndarray | None = None, affine: np.ndarray = AFFINE) -> bytes:
    """A NIfTI; by default a grey picture of 120 x 124."""
    grey = np.arange(120 * 124).reshape(120, 124).astype(np.int16) if voxels is None else voxels
    return gzip.compress(nib.Nifti1Image(grey, affine).to_bytes(), mtime=0)


MASK = (np.arange(120 * 124).reshape(120, 124) % 3 == 0).astype(np.uint8)
NO_MASKS = {
    "the grey picture itself": (scan(), "holds the value"),
    "of another size": (scan(MASK[:-1]), "119 x 124"),
    "3-D for 2-D": (scan(np.stack([MASK, MASK], axis=2)), "120 x 124 x 2"),
    "of another scan": (scan(MASK, AFFINE + 7 * np.eye(4, k=3)), "another place"),
    "of other spacing": (scan(MASK, AFFINE @ np.diag([2, 2, 1, 1])), "another place"),
    "255 for 1": (scan(255 * MASK), "holds the value 255"),
    "NaN": (scan(np.where(MASK > 0, np.nan, 0).astype(np.float32)), "holds the value nan"),
    "a PNG": (b"\x89PNG\r\n\x1a\n" + bytes(600), "a PNG picture"),
    "cut off": (scan(MASK)[:-20], "too early"),
}


@pytest.mark.parametrize("given", NO_MASKS)
def test_a_mask_that_is_not_of_this_scan_is_refused_at_once(operational: Path, given: str) -> None:
    label, says = NO_MASKS[given]
    with pytest.raises(BadInput) as caught:
        performance.give_label(predicted("skin_segmentation", scan()), label, "me")
    assert says in caught.value.found
    assert caught.value.http_status in (415, 422)
    refused_all()


@pytest.mark.parametrize("mask", [MASK, MASK[:, :, None], np.zeros_like(MASK), MASK.astype(np.float64)])
def test_a_mask_on_the_scans_grid_is_kept(operational: Path, mask: np.ndarray) -> None:
    prediction = predicted("skin_segmentation", scan())
    performance.give_label(prediction, scan(mask), "me")
    assert kept(prediction) == scan(mask)


def test_a_mask_that_unpacks_to_far_more_takes_no_memory(operational: Path) -> None:
    """64 million voxels, 256 MB as float32, of 62 kB."""
    shape = (400, 400, 400)
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.uint8)
    header.set_sform(AFFINE, 1)
    header["pixdim"][1:4] = np.linalg.norm(AFFINE[:3, :3], axis=0)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    body = gzip.compress(bytes(header.binaryblock) + bytes(4 + 400**3), 1)
    tracemalloc.start()
    try:
        with pytest.raises(BadInput, match="400 x 400 x 400"):
            performance.give_label(predicted("skin_segmentation", scan()), body, "me")
        assert tracemalloc.get_traced_memory()[1] < 20e6
        tracemalloc.reset_peak()
        performance.give_label(predicted("skin_segmentation", body), body, "me")  # and where it fits, little of it
        assert tracemalloc.get_traced_memory()[1] < 40e6
    finally:
        tracemalloc.stop()


def refused_all() -> None:
    from monitoring.log.models import Feedback

    assert not Feedback.objects.exists()
    assert not list(inputs.folder().rglob(f"*{inputs.TRUTH}"))


@pytest.mark.parametrize(("outcome", "status"), [("UnsupportedMedia", 415), ("TooLarge", 413), ("MissingService", 503)])
def test_a_prediction_that_failed_takes_no_label(operational: Path, outcome: str, status: int) -> None:
    with pytest.raises(Refused, match=f"answered with {status}"):
        performance.give_label(predicted("fruit_features", outcome=outcome, status=status), "apple", "me", wait_s=0)
    assert Refused.http_status == 409
    refused_all()


def test_a_label_whose_input_is_not_kept_here_is_refused(operational: Path) -> None:
    """Past its retention, or given at a router with another `var`: it could never be scored."""
    with pytest.raises(Refused, match="not kept here") as caught:
        performance.give_label(predicted("fruit_features", b""), "apple", "me", wait_s=0.2)
    assert str(settings().var) not in str(caught.value)
    assert "sooner" in caught.value.fix
    refused_all()


@pytest.mark.parametrize("model", ["fruit_features", "suspect_classification"])
@pytest.mark.parametrize("given", ["turnip", b"turnip", BOXES, b"", b"\xff\xfe", b"apple\nbanana"])
def test_what_names_no_class_is_no_label_where_labels_are_names(
    operational: Path, model: str, given: str | bytes
) -> None:
    with pytest.raises(BadInput) as caught:
        performance.give_label(predicted(model), given, "me")
    assert caught.value.http_status == 422
    refused_all()


def test_the_classes_are_those_of_the_data_set(operational: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = catalog.get("fruit_features")
    spec.data.synthesise(settings().data / spec.name, {"seed": 1, "train": 30, "val": 15, "test": 15})
    (settings().data / spec.name / "classes.txt").write_text("durian\nquince\n")
    prediction = predicted(spec.name)
    performance.give_label(prediction, "quince", "me")
    assert kept(prediction) == "quince"
    with pytest.raises(BadInput, match="one of durian, quince"):
        performance.give_label(prediction, "apple", "me")
