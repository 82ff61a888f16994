"""Other people's data: each format gives the same cases."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from registry.cases.splits import SPLITS
from registry.cases.yolo_labels import TOLERANCE
from registry.core.errors import DataError
from tests.registry import layouts
from tests.registry.formats.imported_boxes import boxes_at
from tests.registry.layouts import BOXES, CLASS_FORMATS, OURS, put, some
from tests.registry.made import box_set, class_set, contents, mask_set


@pytest.mark.parametrize("layout", BOXES)
def test_every_box_format_gives_the_same_boxes(layout: str, source: Path, out: Path) -> None:
    ones = some()
    BOXES[layout](source, ones)
    taken = box_set().import_from(source, out, {})
    assert (taken.train, taken.val, taken.test, taken.unlabelled) == (8, 4, 4, 0)
    assert any("hat (2)" in note for note in taken.notes) == (layout != "boxes_by_values")
    cases, found = box_set().cases(out), boxes_at(out)
    assert [(case.split, case.input.read_bytes()) for case in cases] == [(one.split, one.body) for one in ones]
    for one, case in zip(ones, cases, strict=True):
        wanted = [box for box in one.boxes if box.name in OURS]
        assert [name for name, _ in found[case.id]] == [OURS[box.name] for box in wanted]
        for (_, pixels), box in zip(found[case.id], wanted, strict=True):
            assert np.abs(pixels - box.box).max() < 0.5
    table = box_set().inspect(out)
    assert table["highest_class"].max() < len(OURS)
    assert table["smallest_side"].min() > 0
    assert table["furthest_outside"].max() <= TOLERANCE


@pytest.mark.parametrize("layout", CLASS_FORMATS)
def test_every_class_format_gives_the_same_classes(layout: str, source: Path, out: Path) -> None:
    ones = [one for one in some(16, 8) if layouts.class_of(one) in OURS]
    CLASS_FORMATS[layout](source, some(16, 8))
    taken = class_set().import_from(source, out, {})
    cases = class_set().cases(out)
    assert [(c.split, c.truth, c.input.read_bytes()) for c in cases] == [
        (one.split, OURS[layouts.class_of(one) or ""], one.body) for one in ones
    ]
    assert (taken.train, taken.val, taken.test) == tuple(sum(c.split == split for c in cases) for split in SPLITS)


def test_our_own_data_set_is_a_format_too(source: Path, out: Path) -> None:
    for kind, name in ((class_set(), "a"), (box_set(), "b"), (mask_set(), "c")):
        kind.synthesise(source / name, {"seed": 2, "train": 9, "val": 6, "test": 3})
        kind.import_from(source / name, out / name, {})
        old, new = contents(source / name), contents(out / name)
        assert {k: v for k, v in old.items() if k != "cases.csv"} == {k: v for k, v in new.items() if k != "cases.csv"}
        before, after = kind.cases(source / name), kind.cases(out / name)
        assert [case.attributes for case in before] == [case.attributes for case in after]


def test_a_zip_is_imported_like_its_folder(source: Path, out: Path, tmp_path: Path) -> None:
    layouts.roboflow(source, some())
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        for path in sorted(source.rglob("*")):
            archive.write(path, Path("My Data Set") / path.relative_to(source))
    box_set().import_from(source, out / "folder", {})
    box_set().import_from(tmp_path / "export.zip", out / "zip", {})
    assert contents(out / "zip") == contents(out / "folder")


@pytest.mark.parametrize("kind", [class_set, box_set])
def test_nothing_there_one_picture_and_unknown_labels_say_so(kind, source: Path, out: Path) -> None:
    with pytest.raises(DataError, match="there is no picture in"):
        kind().import_from(source, out, {})
    with pytest.raises(DataError, match="does not exist"):
        kind().import_from(source / "gone", out, {})
    put(source / "train" / "disc" / "one.jpg", some()[1].body)
    put(source / "train" / "disc" / "one.txt", "0 0.5 0.5 0.1 0.1")
    put(source / "classes.txt", "disc\n")
    with pytest.raises(DataError, match="there is only one labelled picture"):
        kind().import_from(source, out, {})
    assert not out.exists()


def test_boxes_in_no_known_format_are_noted_with_those_that_are(source: Path, out: Path) -> None:
    put(source / "a.jpg", some()[0].body)
    put(source / "a.json", '{"shapes": []}')
    with pytest.raises(DataError) as caught:
        box_set().import_from(source, out, {})
    assert "COCO" in caught.value.expected
