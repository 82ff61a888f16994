"""A detector over a clip: answer, annotated video, progress, stopping, memory. A real network and real files."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Generator

import cv2
import numpy as np
import pytest

from registry.contract import catalog
from registry.core.errors import NotAcceptable
from registry.versions.predictor import Predictor
from registry.video import clip_summary, video
from registry.video.clip_summary import ClipResult, ClipSummary
from registry.video.pipeline import ahead
from registry.vision.picture import to_jpeg
from tests.clips import make_clip, scene
from tests.detector_bundle import RED, WHITE, make_detector_bundle

SPEC = catalog.get("object_detection")


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return Predictor.load(make_detector_bundle(tmp_path_factory.mktemp("detector") / "b", SPEC).path)


def test_a_clip_is_followed_frame_by_frame(predictor: Predictor) -> None:
    answer = predictor(make_clip(30, (192, 128)))
    found = json.loads(json.dumps(answer.result.to_json()))
    assert (found["frames"], found["width"], found["height"], found["seconds"]) == (30, 192, 128, 3.0)
    assert [(t["id"], t["class"], t["frames"], t["first_frame"], t["last_frame"]) for t in found["tracks"]] in (
        [(1, RED, 30, 0, 29), (2, WHITE, 30, 0, 29)],
        [(1, WHITE, 30, 0, 29), (2, RED, 30, 0, 29)],
    )
    assert found["counts"]["objects"] == {RED: 1, WHITE: 1}
    assert found["counts"]["per_second"][1] == {"second": 1, RED: 1.0, WHITE: 1.0}
    assert len(found["detections"]) == 30
    one = found["detections"][20]
    assert (one["frame"], one["time_s"]) == (20, 2.0)
    red = next(b for b in one["boxes"] if b["class"] == RED)
    assert red["box"] == pytest.approx([60, 64, 92, 96], abs=5)
    assert red["track"] in (1, 2)
    assert answer.embedding.shape == (3,)
    assert {"open", "decode", "network", "postprocess"} <= set(answer.seconds)


def test_a_clip_has_the_statistics_of_a_picture(predictor: Predictor) -> None:
    clip, picture = predictor(make_clip(8, (160, 120))), predictor(to_jpeg(scene(4, 160, 120), 95))
    assert set(clip.prediction_statistics) == set(picture.prediction_statistics)
    assert set(clip.image_statistics) == set(picture.image_statistics)
    for name in ("count", "size", "centre_y"):
        assert clip.prediction_statistics[name] == pytest.approx(picture.prediction_statistics[name], rel=0.1)
    assert clip.embedding == pytest.approx(picture.embedding, abs=0.02)


def test_the_annotated_video_has_the_inputs_frames_and_shows_the_boxes(predictor: Predictor) -> None:
    body = make_clip(25, (192, 128), sound="aac", rotation=90)
    found = predictor(body, "video/webm")
    made = SPEC.render.FORMATS["video/webm"](found.sample, found.result)
    before, after = video.open_clip(body), video.open_clip(made)
    assert (after.width, after.height, after.frames, after.audio) == (128, 192, 25, True)
    assert after.seconds == pytest.approx(before.seconds, abs=0.02)
    plain, drawn = (list(video.frames(clip)) for clip in (before, after))
    changed = np.abs(plain[10].pixels.astype(int) - drawn[10].pixels).max(axis=2) > 60
    assert 0.01 < changed.mean() < 0.5
    ys, xs = np.nonzero(changed)
    box = next(b["box"] for b in found.result.to_json()["detections"][10]["boxes"] if b["class"] == RED)
    assert ((np.abs(xs - box[0]) < 3) & (ys > box[1]) & (ys < box[3])).sum() > 15, "the box's left edge is drawn"


def test_a_picture_of_the_clip_and_no_video_of_a_picture(predictor: Predictor) -> None:
    formats = SPEC.render.FORMATS
    found = predictor(make_clip(20, (192, 128)))
    sheet = cv2.imdecode(np.frombuffer(formats["image/jpeg"](found.sample, found.result), np.uint8), cv2.IMREAD_COLOR)
    assert sheet.shape[1] > 1200
    assert SPEC.render.picture(found.sample).startswith(b"\xff\xd8")
    one = predictor(to_jpeg(scene(1, 160, 120)), "video/webm")
    with pytest.raises(NotAcceptable, match="the input is a picture"):
        formats["video/webm"](one.sample, one.result)


def test_progress_is_reported_and_can_stop_the_work(predictor: Predictor) -> None:
    body, calls = make_clip(40, (96, 64)), []
    predictor(body, on_progress=lambda done, total: calls.append((done, total)))
    assert calls == [(n, 40) for n in range(1, 41)]

    class Enough(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise Enough

    for media in ("application/json", "video/webm"):
        with pytest.raises(Enough):
            predictor(body, media, stop)
    assert not [t for t in threading.enumerate() if t.name in ("decode", "prepare", "network", "track", "draw")]


def test_a_failure_in_the_middle_reaches_the_caller_and_leaves_no_thread(predictor: Predictor) -> None:
    clip, calls = video.open_clip(make_clip(40), 1 << 20), []

    def network(batch: np.ndarray) -> dict[str, np.ndarray]:
        calls.append(len(batch))
        if len(calls) == 3:
            raise RuntimeError("the network broke")
        return predictor.run(batch)

    with pytest.raises(RuntimeError, match="the network broke"):
        SPEC.inference.follow(clip, network, {"image_size": 96}, {"score": 0.25, "iou": 0.6}, "video/webm", None)  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name in ("decode", "prepare", "network", "track", "draw")]


def test_what_is_missing_is_said(predictor: Predictor) -> None:
    body = make_clip(60, container="matroska", codec="mpeg4")
    found = predictor(body[: len(body) * 2 // 3]).result.to_json()
    assert 0 < found["frames"] < 60
    assert any("cut off" in note for note in found["notes"])


def test_a_long_clip_takes_no_more_memory_than_a_short_one(predictor: Predictor) -> None:
    import psutil

    def peak(body: bytes) -> float:
        highest, process = 0.0, psutil.Process()

        def look(done: int, total: int) -> None:
            nonlocal highest
            if done % 20 == 0:
                highest = max(highest, process.memory_info().rss / 1e6)

        predictor(body, on_progress=look)
        return highest

    size = (640, 480)
    still = [scene(n % 8, *size) for n in range(400)]
    encoder = {"preset": "ultrafast"}
    short, long = (make_clip(n, size, scenes=still, encoder=encoder) for n in (60, 400))
    peak(short)
    before, after = peak(short), peak(long)
    assert after - before < 60, "400 frames of 640 x 480 are 370 MB"


def test_lists_are_thinned_when_there_are_too_many_boxes(monkeypatch: pytest.MonkeyPatch, predictor: Predictor) -> None:
    monkeypatch.setattr(clip_summary, "LISTED_BOXES", 30)
    found = predictor(make_clip(60, (96, 64))).result.to_json()
    assert found["detections_every"] == 4
    assert [one["frame"] for one in found["detections"]] == list(range(0, 60, 4))
    assert found["frames"] == 60
    assert max(track["frames"] for track in found["tracks"]) == 60


def test_an_empty_book_is_told_without_dividing_by_zero() -> None:
    clip = video.open_clip(make_clip(2), 1 << 20)
    assert isinstance(clip, video.Clip)
    result = ClipResult(clip, ClipSummary(("a",)), np.zeros((1, 1, 3), np.uint8))
    assert result.to_json()["frames"] == 0


def test_what_is_made_ahead_stays_bounded() -> None:
    made, most = 0, 0

    def slow() -> Generator[int, None, None]:
        nonlocal made
        for n in range(12):
            time.sleep(0.02)
            made += 1
            yield n

    for taken, n in enumerate(ahead(slow(), 2, "slow")):
        assert n == taken
        time.sleep(0.02)
        most = max(most, made - taken)
    assert most <= 5
