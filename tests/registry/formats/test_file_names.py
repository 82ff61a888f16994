"""Pictures and labels whose names differ by what does not count: accents, case, percent signs, the kind of file."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from registry.core.errors import DataError
from tests.registry import layouts
from tests.registry.formats.imported_boxes import boxes_at
from tests.registry.layouts import BOXES, OURS, One, put, some
from tests.registry.made import box_set, class_set


def accented() -> list[One]:
    """Composed, with a blank; case ids are made of what is left: `fa-ade-00`."""
    return [One(f"façade {n:02d}", one.split, one.body, one.boxes) for n, one in enumerate(some())]


def rename(root: Path, endings: tuple[str, ...], change: Callable[[str], str]) -> None:
    for path in sorted(root.rglob("*")):
        if (
            path.is_file()
            and path.suffix.lower() in endings
            and path.name not in ("classes.txt", "train.txt", "val.txt")
        ):
            path.rename(path.with_name(change(path.name)))


def nfd(name: str) -> str:
    return unicodedata.normalize("NFD", name)


def upper(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    return stem + dot + ending.upper()


PICTURES, LABELS = (".jpg",), (".txt", ".xml")


@pytest.mark.parametrize("layout", BOXES)
@pytest.mark.parametrize(
    ("endings", "change"),
    [(PICTURES, nfd), (PICTURES, upper), (PICTURES, str.upper), (PICTURES, quote), (LABELS, nfd), (LABELS, upper),
     (LABELS, quote), (PICTURES, lambda name: name.replace(".jpg", ".jpeg").replace(".jpeg", ".JPG"))],
)  # fmt: skip
def test_names_are_matched_by_what_counts(layout: str, endings, change, source: Path, out: Path) -> None:
    ones = accented()
    BOXES[layout](source, ones)
    rename(source, endings, change)
    taken = box_set().import_from(source, out, {})
    assert (taken.train, taken.val, taken.unlabelled) == (8, 4, 0)
    wanted = [box.box for one in ones for box in one.boxes if box.name in OURS]
    found = [pixels for boxes in boxes_at(out).values() for _, pixels in boxes]
    assert np.abs(np.array(found) - np.array(wanted)).max() < 0.5


def test_a_name_that_fits_exactly_goes_before_one_that_fits_in_another_case(source: Path, out: Path) -> None:
    ones = some()
    twins = [One(one.name.upper(), one.split, two.body, two.boxes) for one, two in zip(ones, some(seed=2), strict=True)]
    layouts.yolo(source, [*ones, *twins])
    box_set().import_from(source, out, {})
    found = boxes_at(out)
    lower = next(case for case in box_set().cases(out) if case.input.read_bytes() == ones[1].body)
    upper = next(case for case in box_set().cases(out) if case.input.read_bytes() == twins[1].body)
    for case, one in ((lower, ones[1]), (upper, twins[1])):
        wanted = [box.box for box in one.boxes if box.name in OURS]
        assert np.abs(np.array([pixels for _, pixels in found[case.id]]) - np.array(wanted)).max() < 0.5


@pytest.mark.parametrize("ending", [".jfif", ".JFIF", ".jpe"])
@pytest.mark.parametrize("layout", BOXES)
def test_jfif_is_a_jpeg(layout: str, ending: str, source: Path, out: Path) -> None:
    BOXES[layout](source, some())
    for path in source.rglob("*.jpg"):
        path.rename(path.with_suffix(ending))
    for path in (*source.rglob("*.json"), *source.rglob("*.csv"), *source.rglob("*.xml")):
        path.write_text(path.read_text().replace(".jpg", ending))
    taken = box_set().import_from(source, out, {})
    assert (taken.train, taken.val) == (8, 4)
    assert {case.input.suffix for case in box_set().cases(out)} == {".jpg"}


@pytest.mark.parametrize("ending", [".HEIC", ".avif"])
@pytest.mark.parametrize("layout", BOXES)
def test_labelled_pictures_of_kinds_not_taken_are_left_out_and_counted(
    layout: str, ending: str, source: Path, out: Path
) -> None:
    ones = some()
    BOXES[layout](source, ones)
    for path in (*source.rglob("shot_01*.jpg"), *source.rglob("shot_09*.jpg")):
        path.rename(path.with_suffix(ending))
    for path in (*source.rglob("*.json"), *source.rglob("*.csv"), *source.rglob("*.xml")):
        text = path.read_text()
        path.write_text(text.replace("shot_01.jpg", f"shot_01{ending}").replace("shot_09.jpg", f"shot_09{ending}"))
    taken = box_set().import_from(source, out, {})
    assert (taken.train, taken.val, taken.unlabelled) == (7, 3, 0)
    notes = "\n".join(taken.notes)
    assert f"{ending.lower()} (2)" in notes
    assert "labels of pictures in unsupported formats left out" in notes


def test_nothing_but_pictures_of_kinds_not_taken_says_so(source: Path, out: Path) -> None:
    put(source / "a.HEIC", b"...")
    with pytest.raises(DataError) as caught:
        box_set().import_from(source, out, {})
    assert "in a supported format: .heic (1)" in caught.value.found
    assert "convert them" in caught.value.fix


def test_whole_paths_of_another_machine_find_the_picture_with_the_same_folders(source: Path, out: Path) -> None:
    lines = ["path,label"]
    ones = some(16, 8)
    for n, one in enumerate(one for one in ones if layouts.class_of(one) in OURS):
        put(source / f"part{n % 2}" / f"{n // 2}.jpg", one.body)
        lines.append(f"C:\\Users\\me\\data\\part{n % 2}\\{n // 2}.jpg,{layouts.class_of(one)}")
    put(source / "list.csv", "\n".join(lines))
    class_set().import_from(source, out, {"val_share": 0.25})
    truth = {one.body: OURS[layouts.class_of(one) or ""] for one in ones if layouts.class_of(one) in OURS}
    cases = class_set().cases(out)
    assert len(cases) == len(truth)
    assert all(truth[case.input.read_bytes()] == case.truth for case in cases)


def test_open_classes_that_differ_in_case_are_one(source: Path, out: Path) -> None:
    ones = some(16, 8)
    for n, one in enumerate(ones):
        put(source / ("Apple", "apple", "Pear_1", "pear-1")[n % 4] / f"{one.name}.jpg", one.body)
    taken = class_set(open_classes=True).import_from(source, out, {})
    assert class_set(open_classes=True).classes(out) == ("Apple", "Pear_1")
    assert any("spellings of one class name, merged: apple (Apple), pear-1 (Pear_1)" in note for note in taken.notes)


def test_open_classes_that_differ_in_their_signs_stay_apart(source: Path, out: Path) -> None:
    for n, one in enumerate(some(16, 8)):
        put(source / ("c", "c++", "c#")[n % 3] / f"{one.name}.jpg", one.body)
    class_set(open_classes=True).import_from(source, out, {})
    assert class_set(open_classes=True).classes(out) == ("c", "c#", "c++")
