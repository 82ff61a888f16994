"""A csv of paths and labels, or of boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from registry.core.errors import DataError
from tests.registry import layouts
from tests.registry.formats.imported_boxes import boxes_at
from tests.registry.layouts import OURS, One, put, some
from tests.registry.made import HEIGHT, WIDTH, box_set, class_set


def test_columns_of_a_table_become_attributes_if_they_have_few_values(source: Path, out: Path) -> None:
    layouts.class_table(source, some(20, 8))
    taken = class_set().import_from(source, out, {})
    assert {tuple(case.attributes) for case in class_set().cases(out)} == {("who",)}
    assert any("number" in note for note in taken.notes)


def test_a_table_that_names_what_does_not_exist_is_named_by_line(source: Path, out: Path) -> None:
    layouts.class_table(source, some(16, 8))
    text = (source / "list.csv").read_text().replace("shot_03.jpg", "shot_77.jpg")
    (source / "list.csv").write_text(text + "\nshot_01.jpg,DISC,train,ann,99")
    with pytest.raises(DataError) as caught:
        class_set().import_from(source, out, {})
    assert "there is no picture 'shot_77.jpg'" in caught.value.found
    assert "shot_01.jpg is 'DISC' here" in caught.value.found


def boxed(root: Path, head: str, line: Callable[[Sequence[float]], Sequence[object]], sep: str = ",") -> list[One]:
    """A table of boxes with these columns; every box is of one picture."""
    ones = [one for one in some(16, 8, 8) if len(one.boxes) == 1 and one.boxes[0].name in OURS]
    lines = [sep.join(("path", "label", *head.split()))]
    for one in ones:
        put(root / f"{one.name}.jpg", one.body)
        lines.append(sep.join(map(str, (f"{one.name}.jpg", one.boxes[0].name, *line(one.boxes[0].box)))))
    put(root / "boxes.csv", "\n".join(lines))
    return ones


@pytest.mark.parametrize(
    ("head", "line", "sep", "message"),
    [
        ("x1 y1 x2 y2", lambda box: np.divide(box, (WIDTH, HEIGHT) * 2), ",", "read as fractions"),
        (
            "x1 y1 x2 y2 width height",
            lambda box: (*np.divide(box, (WIDTH, HEIGHT) * 2), WIDTH, HEIGHT),
            ",",
            "as fractions",
        ),
        ("x1 y1 x2 y2", lambda box: [f"{value + 0.25:.2f}".replace(".", ",") for value in box], ";", ""),
        ("x1 y1 x2 y2", lambda box: (box[2], box[3], box[0], box[1]), ",", "drawn from another corner"),
        ("x y w h", lambda box: (box[2], box[1], box[0] - box[2], box[3] - box[1]), "|", "drawn from another corner"),
        ("xmin ymin xmax ymax confidence", lambda box: (*box, 0.5), "\t", ""),
    ],
)
def test_boxes_of_a_table_as_programs_write_them(
    head: str, line, sep: str, message: str, source: Path, out: Path
) -> None:
    ones = boxed(source, head, line, sep)
    taken = box_set().import_from(source, out, {})
    found = boxes_at(out)
    assert set(found) == {one.name for one in ones}
    assert all(np.abs(found[one.name][0][1] - one.boxes[0].box).max() < 0.5 for one in ones)
    assert message in "\n".join(taken.notes)


def test_one_normalized_box_among_boxes_in_pixels_is_named(source: Path, out: Path) -> None:
    boxed(source, "x1 y1 x2 y2", lambda box: box)
    path = source / "boxes.csv"
    path.write_text(path.read_text() + "\nshot_01.jpg,DISC,0.1,0.2,0.4,0.5")
    with pytest.raises(DataError, match=r"shot_01\.jpg: a box .* looks normalized"):
        box_set().import_from(source, out, {})


@pytest.mark.parametrize("names", [("train", "val", "test"), ("labels_train", "labels_valid", "labels_test")])
def test_a_table_for_each_part_is_one_table(names: tuple[str, str, str], source: Path, out: Path) -> None:
    ones = [one for one in some(16, 8, 8) if layouts.class_of(one) in OURS]
    for split, name in zip(("train", "val", "test"), names, strict=True):
        lines = [f"all/{one.name}.jpg,{layouts.class_of(one)}" for one in ones if one.split == split]
        put(source / f"{name}.csv", "path,label\n" + "\n".join(lines))
    for one in ones:
        put(source / "all" / f"{one.name}.jpg", one.body)
    put(source / "zoo.csv", f"path,label\nall/{ones[0].name}.jpg,Square\n")
    taken = class_set().import_from(source, out, {})
    assert [(case.id, case.split) for case in class_set().cases(out)] == [(one.name, one.split) for one in ones]
    assert any("zoo.csv left out: labels come from" in note for note in taken.notes)


def test_a_picture_in_two_parts_is_noted(source: Path, out: Path) -> None:
    layouts.class_table(source, some(16, 8))
    path = source / "list.csv"
    path.write_text(path.read_text() + "\n" + path.read_text().splitlines()[1].replace(",train,", ",test,"))
    with pytest.raises(DataError, match="is 'test' here, 'train' before"):
        class_set().import_from(source, out, {})


def test_excels_line_about_its_separator_is_no_header(source: Path, out: Path) -> None:
    layouts.class_table(source, some(16, 8))
    path = source / "list.csv"
    path.write_bytes(b"sep=,\r\n" + path.read_bytes())
    assert class_set().import_from(source, out, {}).train > 0
