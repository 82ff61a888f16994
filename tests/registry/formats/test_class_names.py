"""Other people's class names, and the model's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from registry.core.errors import DataError
from registry.datasets.layouts import BoxSet
from tests.registry import layouts
from tests.registry.formats.imported_boxes import boxes_at
from tests.registry.layouts import put, some
from tests.registry.made import CLASSES, box_set, class_set, scene, some_boxes


def test_names_that_the_model_lacks_are_dropped_and_counted_or_renamed(source: Path, out: Path) -> None:
    layouts.yolo(source, some())
    taken = box_set().import_from(source, out / "dropped", {})
    assert any("left out, not among the model's classes: hat (2)" in note for note in taken.notes)
    assert not any("did you mean" in note for note in taken.notes)
    taken = box_set().import_from(source, out / "renamed", {"map": {"hat": "square"}})
    assert not any("hat" in note for note in taken.notes)
    count = {name: sum(len(boxes) for boxes in boxes_at(out / name).values()) for name in ("dropped", "renamed")}
    assert count["renamed"] == count["dropped"] + 2


def test_a_misspelt_class_is_guessed(source: Path, out: Path) -> None:
    for n in range(24):
        name = ("disc", "sqare")[n % 2]
        put(source / name / f"{n}.jpg", scene(np.random.default_rng([5, n]), ("disc",))[0])
    notes = "\n".join(class_set().import_from(source, out, {}).notes)
    assert "did you mean square by sqare? import again with --force --map sqare=square" in notes


def test_no_class_of_the_model_is_an_error_that_names_both(source: Path, out: Path) -> None:
    layouts.yolo(source, some())
    with pytest.raises(DataError) as caught:
        BoxSet("m", ("cat", "dog"), some_boxes).import_from(source, out, {})
    assert "hat (2)" in caught.value.found
    assert "cat, dog" in caught.value.expected
    assert "--map" in caught.value.fix


def test_a_missing_and_a_rare_class_are_noted_but_do_not_stop(source: Path, out: Path) -> None:
    for n in range(40):
        name = "disc" if n < 36 else "square"
        put(source / name / f"{n}.jpg", scene(np.random.default_rng([5, n]), (name,))[0])
    notes = "\n".join(class_set().import_from(source, out, {}).notes)
    assert "no training picture of 1 of the 3 classes, which cannot be learnt: yellow_vest" in notes
    assert "fewer than 10 training pictures: square (2)" in notes
    assert class_set().inspect(out)["training_of_class"].min() >= 1


def test_open_classes_are_the_source_s_own(source: Path, out: Path) -> None:
    layouts.fruits_360(source, some(16, 8))
    kind = class_set(open_classes=True)
    kind.import_from(source, out, {})
    assert kind.classes(out) == ("DISC", "Square", "Yellow Vest")
    assert {case.truth for case in kind.cases(out)} == set(kind.classes(out))


def test_open_class_names_that_no_folder_can_have_are_fixed(source: Path, out: Path) -> None:
    lines = ["path,label,split"]
    for n in range(8):
        put(source / f"{n}.jpg", scene(np.random.default_rng([3, n]), (CLASSES[n % 2],))[0])
        lines.append(f"{n}.jpg,{('half/half', '../up', 'fine')[n % 3]},{('train', 'val')[n // 6]}")
    put(source / "list.csv", "\n".join(lines))
    kind = class_set(open_classes=True)
    kind.import_from(source, out, {})
    assert kind.classes(out) == ("-up", "fine", "half-half")
    assert all(case.input.is_file() for case in kind.cases(out))
    assert not list(source.parent.glob("up*"))
