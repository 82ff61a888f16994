"""Which pictures are held out, and that none of them is learnt from."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from registry.cases.records import ImportResult
from registry.cases.splits import SPLITS
from registry.cases.yolo_labels import LabelBox
from tests.registry import layouts
from tests.registry.layouts import One, put, some
from tests.registry.made import CLASSES, box_set, class_set, scene


def counts(taken: ImportResult) -> tuple[int, int, int]:
    return taken.train, taken.val, taken.test


def test_without_a_split_a_share_of_each_class_chooses_and_one_is_held_out(source: Path, out: Path) -> None:
    for n in range(48):
        body, _ = scene(np.random.default_rng([9, n]), (CLASSES[n % 3],))
        put(source / CLASSES[n % 3] / f"{n:03d}.jpg", body)
    assert counts(class_set().import_from(source, out, {"val_share": 0.125, "test_share": 0.25})) == (30, 6, 12)
    cases = class_set().cases(out)
    for split, each in (("val", 2), ("test", 4)):
        truths = [case.truth for case in cases if case.split == split]
        assert all(truths.count(name) == each for name in CLASSES)


LACKING = {
    # splits of the 16 pictures -> counts, and the note
    "only train": (("train",) * 16, (10, 3, 3), "has only train: 15% of it become the validation split, 20% the test"),
    "only test": (("test",) * 16, (10, 3, 3), "has only test: "),
    "nothing to train on": (("val",) * 8 + ("test",) * 8, (10, 3, 3), "has only test and val: "),
    "no test": (("train",) * 8 + ("val",) * 8, (8, 4, 4), "no test split: 57% of its validation split are held out"),
    "no val": (("train",) * 12 + ("test",) * 4, (9, 3, 4), "no validation split: 19% of its training split"),
    "all three": (("train",) * 8 + ("val",) * 4 + ("test",) * 4, (8, 4, 4), ""),
}


@pytest.mark.parametrize("case", LACKING)
def test_a_part_that_the_source_lacks_is_set_aside_and_its_own_stay(case: str, source: Path, out: Path) -> None:
    parts, wanted, message = LACKING[case]
    ones = [One(one.name, part, one.body, one.boxes) for one, part in zip(some(), parts, strict=True)]
    layouts.roboflow(source, ones)
    taken = box_set().import_from(source, out, {})
    assert counts(taken) == wanted
    assert any(message in note for note in taken.notes)
    assert bool(message) == any("the source has" in note for note in taken.notes)
    split = {case.input.read_bytes(): case.split for case in box_set().cases(out)}
    assert all(split[one.body] == "test" for one in ones if one.split == "test" and "train" in parts)
    assert all(split[one.body] != "train" for one in ones if one.split == "val" and "train" in parts)


def test_pictures_of_one_thing_stay_on_one_side(source: Path, out: Path) -> None:
    """Two shots each of 12 scenes: a split by name alone would put some on both sides."""
    for n in range(12):
        body, _ = scene(np.random.default_rng([4, n]), (CLASSES[n % 3],))
        pixels = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
        lighter = cv2.imencode(".jpg", cv2.convertScaleAbs(pixels, alpha=1.0, beta=8))[1].tobytes()
        put(source / CLASSES[n % 3] / f"a{n}.jpg", body)
        put(source / CLASSES[n % 3] / f"b{n}.jpg", lighter)
    class_set().import_from(source, out, {"val_share": 0.3, "test_share": 0.3})
    split = {case.id: case.split for case in class_set().cases(out)}
    assert len(split) == 24
    assert all(split[f"a{n}"] == split[f"b{n}"] for n in range(12))
    assert set(split.values()) == set(SPLITS)


def test_a_training_copy_of_a_held_out_picture_is_left_out_and_noted(source: Path, out: Path) -> None:
    ones = some()
    pixels = cv2.imdecode(np.frombuffer(ones[-1].body, np.uint8), cv2.IMREAD_COLOR)
    lighter = cv2.imencode(".jpg", cv2.convertScaleAbs(pixels, alpha=1.0, beta=8))[1].tobytes()
    more = [One("exact", "train", ones[-2].body, ones[-2].boxes), One("nearly", "train", lighter, ones[-1].boxes)]
    layouts.yolo(source, [*ones, *more])
    taken = box_set().import_from(source, out, {})
    assert counts(taken) == (8, 4, 4)
    assert any("1 copies" in note for note in taken.notes)
    assert any("nearly" in note for note in taken.notes)


def test_look_alikes_are_kept_on_request_and_the_data_set_says_so(source: Path, out: Path) -> None:
    """Frames of a turntable: every training picture has its like among the held-out ones."""
    for n in range(6):
        body, _ = scene(np.random.default_rng([8, n]), (CLASSES[n % 2],))
        pixels = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
        put(source / "Test" / CLASSES[n % 2] / f"{n}.jpg", body)
        for k in (2, 4):
            lighter = cv2.imencode(".jpg", cv2.convertScaleAbs(pixels, alpha=1.0, beta=2 * k))[1].tobytes()
            put(source / "Training" / CLASSES[n % 2] / f"{n}_{k}.jpg", lighter)
    other, _ = scene(np.random.default_rng([8, 99]), (CLASSES[0],))
    put(source / "Training" / CLASSES[0] / "other.jpg", other)
    dropped = class_set().import_from(source, out / "dropped", {"val_share": 0})
    assert counts(dropped) == (1, 0, 6)
    assert any("12 of 13 training pictures left out" in note for note in dropped.notes)
    kept = class_set().import_from(source, out / "kept", {"val_share": 0, "look_alikes": "keep"})
    assert counts(kept) == (13, 0, 6)
    assert any("the metric will flatter" in note for note in kept.notes)
    assert (out / "kept" / "look-alikes-kept.txt").is_file()
    assert class_set().inspect(out / "kept")["likeness"].isna().all()


def test_one_picture_with_two_labels_is_left_out_and_noted(source: Path, out: Path) -> None:
    """Its copies with the very boxes, to a pixel, are copies; with others nobody knows which are right."""
    ones = some()
    first, second = ones[1], ones[2]
    nudged = tuple(LabelBox(box.name, tuple(value + 0.4 for value in box.box)) for box in first.boxes)
    layouts.yolo(source, [*ones, One("same", "train", first.body, nudged), One("other", "train", second.body, ())])
    taken = box_set().import_from(source, out, {})
    assert any("left out, the same picture with different boxes: other, shot_02" in note for note in taken.notes)
    assert any("1 copies of other pictures" in note for note in taken.notes)
    assert not {"other", "shot_02"} & {case.id for case in box_set().cases(out)}
