"""How far two answers agree: classes, boxes and masks of the real models' answer formats."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import httpx
import nibabel as nib
import numpy as np
import psutil
import pytest

from registry.boxes.detection import Detections
from registry.contract import catalog
from registry.core.errors import BadInput, VisionloopError
from serving.router.agreement import Answer, agreement
from serving.router.comparing import DIFFERS, JSON, Comparer, Question, comparable
from tests.bundles import AFFINE, MODEL, make_scan
from tests.serving.inputs import gigantic

LIMIT = 10**7
NIFTI = "application/x-nifti"


def said(answer: dict[str, Any]) -> Answer:
    return Answer(JSON, json.dumps(answer).encode())


def found(*boxes: tuple[float, float, float, float], classes: tuple[int, ...] = ()) -> Answer:
    """A detector's answer."""
    edges = np.array(boxes, np.float32).reshape(-1, 4)
    numbers = np.array(classes or (0,) * len(boxes), np.int64)
    result = Detections(edges, np.full(len(boxes), 0.9, np.float32), numbers, ("cup", "dog"), 100, 100, 0.5)
    return said(result.to_json())


def mask(*filled: slice) -> Answer:
    voxels = np.zeros((64, 48), np.uint8)
    if filled:
        voxels[filled] = 1
    return Answer(NIFTI, bytes(nib.Nifti1Image(voxels, AFFINE).to_bytes()))


def agreed(model: str, one: Answer, other: Answer, sample: bytes = b"") -> float | None:
    return agreement(catalog.get(model), LIMIT, sample, one, other)


A, B, NEAR_A = (0.0, 0.0, 20.0, 20.0), (50.0, 50.0, 90.0, 90.0), (1.0, 1.0, 21.0, 21.0)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (found(A, B), found(B, NEAR_A), 1.0),
        (found(A, B), found(A), 2 / 3),
        (found(A), found(B), 0.0),
        (found(A), found(A, classes=(1,)), 0.0),
        (found(A, A), found(A), 2 / 3),
        (found(), found(), 1.0),
        (found(), found(A), 0.0),
    ],
)
def test_boxes_agree_by_f1(one: Answer, other: Answer, expected: float) -> None:
    assert agreed("object_detection", one, other) == pytest.approx(expected)
    assert agreed("object_detection", other, one) == pytest.approx(expected)


def test_faces_agree_where_box_and_gender_do() -> None:
    def face(gender: str) -> Answer:
        return said(
            {"faces": [{"box": list(A), "confidence": 0.9, "gender": gender, "probability": 0.8}], "counts": {}}
        )

    assert agreed("face_gender", face("female"), face("female")) == 1.0
    assert agreed("face_gender", face("female"), face("male")) == 0.0


@pytest.mark.parametrize("model", ["suspect_classification", "fruit_features"])
def test_classes_agree_by_name(model: str) -> None:
    one, other = (said({"class": name, "probability": 0.9}) for name in ("knife", "drone"))
    assert agreed(model, one, one) == 1.0
    assert agreed(model, one, other) == 0.0


def test_masks_agree_by_the_models_own_metric() -> None:
    scan = make_scan(1, (64, 48))
    left, right = mask(slice(0, 32), slice(0, 48)), mask(slice(16, 48), slice(0, 48))
    assert agreed(MODEL, left, left, scan) == 1.0
    assert agreed(MODEL, left, right, scan) == pytest.approx(0.5)  # Dice: half of each lies in the other
    assert agreed(MODEL, mask(), mask(), scan) == 1.0
    with pytest.raises(VisionloopError):
        agreed(MODEL, left, Answer(NIFTI, b"no mask"), scan)


def test_what_cannot_be_compared_is_not() -> None:
    picture = Answer("image/jpeg", b"\xff\xd8")
    assert agreed("object_detection", picture, picture) is None
    assert agreed(MODEL, said({"voxels": 3}), said({"voxels": 3})) is None
    assert agreed("object_detection", said({"width": 3}), said({"width": 3})) is None


def test_every_model_has_a_form_to_compare_and_a_bound() -> None:
    for spec in catalog.all_specs():
        assert comparable(spec) in spec.media_out
        assert 0 < DIFFERS[spec.task] <= 1


def _form(body: bytes) -> tuple[str, bytes]:
    request = httpx.Request("POST", "http://x", files={"file": ("scan.nii.gz", body)})
    return request.headers["content-type"], request.read()


def _base64(body: bytes) -> tuple[str, bytes]:
    return "application/json; charset=utf-8", json.dumps({"input": base64.b64encode(body).decode()}).encode()


def test_masks_are_compared_in_another_process_however_the_scan_was_sent() -> None:
    async def compare() -> None:
        comparer, scan = Comparer(), make_scan(1, (64, 48, 1))
        left, right = mask(slice(0, 10)), mask(slice(0, 10))
        pair = ((left.media, left.body), (right.media, right.body))
        try:
            for kind, body in (("application/gzip", scan), _form(scan), _base64(scan)):
                assert await comparer(Question(MODEL, kind, body, *pair)) == pytest.approx(1.0)
            for body in (b"no scan", gigantic()):
                with pytest.raises(BadInput):
                    await comparer(Question(MODEL, "application/gzip", body, *pair))
            (first,) = (one for one in psutil.Process().children() if "serving.router.agreement" in one.cmdline())
            first.kill()
            while psutil.pid_exists(first.pid):
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.1)  # the loop hears of its end
            assert await comparer(Question(MODEL, "", scan, *pair)) == pytest.approx(1.0), "another one is started"
            slow = asyncio.create_task(comparer(Question(MODEL, "", scan, *pair)))
            await asyncio.sleep(0)
            slow.cancel()
            with pytest.raises(asyncio.CancelledError):
                await slow
            assert await comparer(Question(MODEL, "", scan, *pair)) == pytest.approx(1.0)
        finally:
            comparer.stop()

    asyncio.run(compare())
