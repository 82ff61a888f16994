"""What is particular to object_detection: COCO's classes, its starter data, fine-tuning from a YOLOv5 file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from registry.boxes.detection import Detections
from registry.core.errors import BadInput, UnsupportedMedia
from registry.core.media import Clip, Picture
from registry.models.object_detection import COCO, SPEC, scenes
from tests.clips import make_clip

data = SPEC.data
inference = SPEC.inference
render = SPEC.render
score = SPEC.score


def test_the_classes_are_cocos_in_cocos_order() -> None:
    assert len(COCO) == len(set(COCO)) == 80
    assert [COCO[n] for n in (0, 2, 9, 11, 39, 43, 79)] == [
        "person", "car", "traffic light", "stop sign", "bottle", "knife", "toothbrush",
    ]  # fmt: skip
    assert set(scenes.THINGS) <= set(COCO)


def test_the_starter_data_is_the_same_everywhere_and_shows_every_class() -> None:
    items = data.synthesise_stream(32, 3)
    seen: Counter[str] = Counter()
    sides = []
    for item in items:
        picture = inference.decode(item.input, 1 << 20)
        truth = score.truth(item.truth)
        assert isinstance(picture, Picture)
        boxes = truth.pixels(picture.width, picture.height)
        assert (boxes[:, :2] >= -0.01).all()
        assert (boxes[:, 2:] <= np.array([picture.width, picture.height]) + 0.01).all()
        sides += (boxes[:, 2:] - boxes[:, :2]).min(axis=1).tolist()
        seen.update(COCO[number] for number in truth.classes.tolist())
    assert set(seen) == set(scenes.THINGS)
    assert min(sides) >= 6
    empty = sum(not len(score.truth(item.truth).classes) for item in items)
    assert empty == 3
    assert [item.input for item in data.synthesise_stream(32, 3)] == [item.input for item in items]


def test_pictures_and_clips_are_told_apart_and_anything_else_is_refused() -> None:
    clip = inference.decode(make_clip(3), 1 << 20)
    assert isinstance(clip, Clip)
    assert set(inference.image_statistics(clip)) == set(
        inference.image_statistics(inference.decode(data.synthesise_stream(1, 1)[0].input, 1 << 20))
    )
    for body in (b"", b"\x00" * 64, b"plain text, long enough to be looked at"):
        with pytest.raises(BadInput) as caught:
            inference.decode(body, 1 << 20)
        assert caught.value.fix
    heic = b"\x00\x00\x00\x18ftypheic" + bytes(64)
    with pytest.raises(UnsupportedMedia, match="HEIC"):
        inference.decode(heic, 1 << 20)


def test_the_metric_is_cocos_and_falls_with_looser_boxes() -> None:
    truth = score.truth(b"2 0.5 0.5 0.4 0.4\n9 0.2 0.2 0.2 0.2\n")

    def found(shift: float) -> Detections:
        boxes = truth.pixels(100, 100) + np.float32(shift)
        return Detections(boxes, np.array([0.9, 0.8], np.float32), np.array([2, 9]), COCO, 100, 100, 0.25)

    values = [score.score([found(shift)], [truth]) for shift in (0, 1, 2, 4)]
    assert values[0] == pytest.approx(1.0)
    assert values == sorted(values, reverse=True)
    assert values[3] < 0.6
    assert score.per_class([found(0)], [truth]) == {"car": pytest.approx(1.0), "traffic light": pytest.approx(1.0)}


def test_a_picture_of_the_truth_and_of_the_answer() -> None:
    item = data.synthesise_stream(1, 4)[0]
    sample, truth = inference.decode(item.input, 1 << 20), score.truth(item.truth)
    plain, drawn = render.picture(sample), render.picture(sample, None, truth)
    assert plain != drawn
    assert set(render.FORMATS) == set(SPEC.media_out) - {"application/json"}


def test_weights_of_the_original_yolov5_start_the_fine_tuning(tmp_path: Path) -> None:
    """The original checkpoint has another head: backbone and neck are taken by name and shape, the rest stays."""
    torch = pytest.importorskip("torch")
    from training.engines.select import hooks_of

    hooks = hooks_of(SPEC)
    network = hooks.build({"image_size": 64})
    own = network.state_dict()
    rng = np.random.default_rng(0)
    original = {
        f"model.{name}": rng.normal(0, 0.02, tuple(value.shape)).astype(np.float16)
        for name, value in own.items()
        if name.startswith("model.") and value.ndim == 4 and not name.startswith("model.24.")
    }
    original["model.model.24.m.0.weight"] = np.zeros((255, 64, 1, 1), np.float16)  # the anchor head's
    renamed = hooks.rename(original)
    taken = [name for name, value in renamed.items() if name in own and tuple(own[name].shape) == value.shape]
    assert len(taken) == len(original) - 1
    assert torch.isfinite(torch.from_numpy(renamed[taken[0]].astype(np.float32))).all()
