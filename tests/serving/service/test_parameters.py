"""Parameters of a call: they change its answer, and nothing of what the monitor sees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from registry.contract import catalog
from registry.core.media import Prepared
from registry.versions.predictor import Predictor
from registry.vision.picture import Letterbox, to_jpeg
from serving.service.worker import Worker
from tests.clips import make_clip, scene
from tests.detector_bundle import RED, WHITE, make_detector_bundle
from tests.serving.local_api import answering
from tests.waiting import until

MODEL = "object_detection"
JPEG = {"Content-Type": "image/jpeg"}
PICTURE = to_jpeg(scene(4, 160, 120), 95)


@pytest.fixture(scope="module")
def running(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Worker]]:
    spec = catalog.get(MODEL)
    bundle = make_detector_bundle(tmp_path_factory.mktemp("parameters") / "bundle", spec)
    with answering(spec, bundle.path) as running:
        yield running


def _predict(address: str, query: str) -> httpx.Response:
    return httpx.post(f"{address}/predict{query}", content=PICTURE, headers=JPEG, timeout=60)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", {RED, WHITE}),
        ("?score=0.5", {RED, WHITE}),
        ("?score=0.95", set()),
        (f"?classes={RED}", {RED}),
        (f"?classes={RED},%20{WHITE}", {RED, WHITE}),
        ("?classes=dog", set()),
        (f"?classes={WHITE}&score=0.01&iou=0&max_detections=5", {WHITE}),
    ],
)
def test_a_caller_chooses_what_counts(running: tuple[str, Worker], query: str, found: set[str]) -> None:
    answer = _predict(running[0], query)
    assert answer.status_code == 200, answer.text
    assert {one["class"] for one in answer.json()["detections"]} == found
    assert ("parameters" in answer.json()) == bool(query)


def test_the_best_are_kept(running: tuple[str, Worker]) -> None:
    (only,) = _predict(running[0], "?max_detections=1").json()["detections"]
    assert only["class"] == _predict(running[0], "").json()["detections"][0]["class"]


def test_the_log_has_the_statistics_of_the_versions_own_thresholds(running: tuple[str, Worker]) -> None:
    ids = [
        _predict(running[0], query).json()["id"] for query in ("", "?score=0.95", f"?classes={RED}&max_detections=1")
    ]
    logged = _logged(ids)
    statistics = [logged[number]["prediction_statistics"] for number in ids]
    assert statistics[0]["count"] == 2
    assert statistics == [statistics[0]] * 3
    assert logged[ids[1]]["answer"]["parameters"] == {"score": 0.95}
    assert logged[ids[1]]["answer"]["detections"] == []


def _logged(ids: list[str]) -> dict[str, Any]:
    from monitoring.log import answers
    from monitoring.log.models import Prediction

    until(lambda: Prediction.objects.filter(id__in=ids).count() == len(ids), 20)
    rows = Prediction.objects.filter(id__in=ids).select_related("answer")
    return {row.id: {**vars(row), "answer": answers.of(row)} for row in rows}


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("?score=2", "score is '2'"),
        ("?score=0", "score is '0'"),
        ("?iou=nan", "iou is 'nan'"),
        ("?classes=sports%20bal", "there is no class 'sports bal'"),
        ("?classes=", "there is no class ''"),
        ("?max_detections=0", "max_detections is '0'"),
        ("?max_detections=301", "max_detections is '301'"),
        ("?scor=0.5", "there is no query parameter 'scor'"),
    ],
)
def test_what_makes_no_sense_is_named(running: tuple[str, Worker], query: str, says: str) -> None:
    answer = _predict(running[0], query)
    assert (answer.status_code, answer.json()["found"]) == (422, says)


def test_drawings_take_them_and_videos_do_not(running: tuple[str, Worker]) -> None:
    drawn = [
        httpx.post(f"{running[0]}/render{query}", content=PICTURE, headers=JPEG).content
        for query in ("", "?score=0.95")
    ]
    assert drawn[0] != drawn[1]
    refused = httpx.post(f"{running[0]}/predict?score=0.5", content=make_clip(5), headers={"Content-Type": "video/mp4"})
    assert (refused.status_code, refused.json()["found"]) == (422, "score: the input is a video")


def test_a_service_answers_for_its_own_version_only(running: tuple[str, Worker]) -> None:
    assert _predict(running[0], "?version=1").status_code == 200
    other = _predict(running[0], "?version=2")
    assert (other.status_code, other.json()["expected"]) == (409, "one of 1")


def test_the_overlap_decides_which_boxes_stay(project: Path, tmp_path: Path) -> None:
    """Two boxes of one class that overlap by a half: one remains below it, both above."""
    spec = catalog.get(MODEL)
    part = Predictor(make_detector_bundle(tmp_path / "bundle", spec), threads=1).spec.inference
    outputs = np.zeros((1, 4 + len(spec.classes), 2), np.float32)
    outputs[0, :4] = np.array([[0, 0, 60, 60], [0, 20, 60, 80]], np.float32).T  # IoU 0.5
    outputs[0, 4 + spec.classes.index(RED)] = (0.9, 0.8)
    prepared = Prepared(np.zeros((1, 3, 96, 96), np.float32), (Letterbox.of(96, 96, 96), ()))
    thresholds = {"score": 0.25, "iou": 0.6}
    counts = [len(part.answer({"predictions": outputs}, prepared, thresholds, asked)) for asked in ({}, {"iou": 0.4})]
    assert counts == [2, 1]
