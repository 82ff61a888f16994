"""A folder for each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.registry import layouts
from tests.registry.layouts import put, some
from tests.registry.made import CLASSES, class_set, scene


def test_pictures_of_other_kinds_are_noted(source: Path, out: Path) -> None:
    layouts.class_folders(source, some(16, 8))
    put(source / "train" / "disc" / "phone.HEIC", b"...")
    assert any(".heic (1)" in note for note in class_set().import_from(source, out, {}).notes)


def test_one_picture_with_two_classes_is_left_out_and_noted(source: Path, out: Path) -> None:
    layouts.class_folders(source, some(16, 8))
    first = some(16, 8)[1]
    put(source / "train" / "disc" / "disputed.jpg", first.body)
    taken = class_set().import_from(source, out, {})
    assert any("different classes: disputed, shot_01" in note for note in taken.notes)
    assert not {"disputed", "shot_01"} & {case.id for case in class_set().cases(out)}


def test_equal_names_in_several_folders_get_names_of_their_own(source: Path, out: Path) -> None:
    for n in range(6):
        for split in ("train", "val"):
            body, _ = scene(np.random.default_rng([n, len(split)]), (CLASSES[n % 3],))
            put(source / split / CLASSES[n % 3] / f"{n // 3}.jpg", body)
    class_set().import_from(source, out, {})
    ids = [case.id for case in class_set().cases(out)]
    assert len(set(ids)) == 12
    assert "train-disc-0" in ids
