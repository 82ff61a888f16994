"""Which pictures are held out, and that none of them is learnt from."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tests.registry.vision import layouts
from tests.registry.vision.layouts import One, put, some
from tests.registry.vision.made import CLASSES, box_set, class_set, scene


def test_without_a_split_a_share_of_each_class_is_held_out(source: Path, out: Path) -> None:
    for n in range(48):
        body, _ = scene(np.random.default_rng([9, n]), (CLASSES[n % 3],))
        put(source / CLASSES[n % 3] / f"{n:03d}.jpg", body)
    taken = class_set().import_from(source, out, {"val_share": 0.25})
    assert (taken.train, taken.val) == (36, 12)
    held = [case.truth for case in class_set().cases(out) if case.split == "val"]
    assert all(held.count(name) == 4 for name in CLASSES)


def test_a_source_with_one_part_only_is_split(source: Path, out: Path) -> None:
    ones = [One(one.name, "train", one.body, one.boxes) for one in some()]
    layouts.roboflow(source, ones)
    taken = box_set().import_from(source, out, {})
    assert taken.val >= 2
    assert any("train part only" in note for note in taken.notes)


def test_a_test_part_is_held_out(source: Path, out: Path) -> None:
    ones = some()
    layouts.roboflow(source, ones)
    (source / "valid").rename(source / "test")
    taken = box_set().import_from(source, out, {})
    assert (taken.train, taken.val) == (8, 4)


def test_pictures_of_one_thing_stay_on_one_side(source: Path, out: Path) -> None:
    """Two shots each of 12 scenes: a split by name alone would put some on both sides."""
    for n in range(12):
        body, _ = scene(np.random.default_rng([4, n]), (CLASSES[n % 3],))
        pixels = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
        lighter = cv2.imencode(".jpg", cv2.convertScaleAbs(pixels, alpha=1.0, beta=8))[1].tobytes()
        put(source / CLASSES[n % 3] / f"a{n}.jpg", body)
        put(source / CLASSES[n % 3] / f"b{n}.jpg", lighter)
    class_set().import_from(source, out, {"val_share": 0.3})
    split = {case.id: case.split for case in class_set().cases(out)}
    assert len(split) == 24
    assert all(split[f"a{n}"] == split[f"b{n}"] for n in range(12))
    assert set(split.values()) == {"train", "val"}


def test_a_training_copy_of_a_held_out_picture_is_left_out_and_told(source: Path, out: Path) -> None:
    ones = some()
    pixels = cv2.imdecode(np.frombuffer(ones[-1].body, np.uint8), cv2.IMREAD_COLOR)
    lighter = cv2.imencode(".jpg", cv2.convertScaleAbs(pixels, alpha=1.0, beta=8))[1].tobytes()
    more = [One("exact", "train", ones[-2].body, ones[-2].boxes), One("nearly", "train", lighter, ones[-1].boxes)]
    layouts.yolo(source, [*ones, *more])
    taken = box_set().import_from(source, out, {})
    assert (taken.train, taken.val) == (8, 4)
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
    dropped = class_set().import_from(source, out / "dropped", {})
    assert (dropped.train, dropped.val) == (1, 6)
    assert any("12 of 13 training pictures left out" in note for note in dropped.notes)
    kept = class_set().import_from(source, out / "kept", {"look_alikes": "keep"})
    assert (kept.train, kept.val) == (13, 6)
    assert any("the metric will flatter" in note for note in kept.notes)
    assert (out / "kept" / "look-alikes-kept.txt").is_file()
    assert not class_set().inspect(out / "kept")["same_as"].any()
