"""YOLO: text labels beside pictures, numbers named by data.yaml."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from registry.cases.yolo_labels import LabelBox, text_of
from registry.core.errors import DataError
from registry.datasets.layouts import BoxSet
from tests.registry import layouts
from tests.registry.formats.imported_boxes import boxes_at
from tests.registry.layouts import put, some
from tests.registry.made import CLASSES, HEIGHT, WIDTH, box_set, scene, some_boxes


def test_coco_ids_of_a_model_that_knows_some_of_them(source: Path, out: Path) -> None:
    """Class numbers of other people mean nothing; names do."""
    body, _ = scene(np.random.default_rng(1), ())
    other, _ = scene(np.random.default_rng(2), ())
    names = "\n".join(f"  {n}: {name}" for n, name in enumerate(("person", "bicycle", "car", *["x"] * 40, "knife")))
    put(source / "data.yaml", f"names:\n{names}\n")
    for n, picture in enumerate((body, other)):
        put(source / "images" / ("train", "val")[n] / f"{n}.jpg", picture)
        put(source / "labels" / ("train", "val")[n] / f"{n}.txt", "43 0.5 0.5 0.2 0.2\n0 0.2 0.2 0.1 0.1\n")
    kind = BoxSet("m", ("knife", "Person"), some_boxes)
    kind.import_from(source, out, {})
    assert [line[0] for line in Path(kind.cases(out)[0].truth).read_text().splitlines()] == ["0", "1"]


def test_pictures_without_a_label_are_kept_for_prediction(source: Path, out: Path) -> None:
    layouts.yolo(source, some())
    put(source / "images" / "train" / "new.jpg", scene(np.random.default_rng(77), ())[0])
    taken = box_set().import_from(source, out, {})
    assert (taken.train, taken.val, taken.test, taken.unlabelled) == (8, 4, 4, 1)
    assert [path.name for path in (out / "unlabelled").iterdir()] == ["new.jpg"]
    alone = put(source.parent / "alone" / "x.jpg", some()[0].body).parent
    assert box_set().import_from(alone, out.with_name("alone-out"), {}).unlabelled == 1


def broken_yolo(root: Path, label: str) -> None:
    layouts.yolo(root, some())
    put(root / "labels/train/shot_01.txt", label)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("3 0.5 0.5 0.2\n", "line 1: 4 numbers"),
        ("3 0.5 0.5 0.2 huge\n", "are not numbers"),
        ("9 0.5 0.5 0.2 0.2\n", "class number 9 is not in data.yaml"),
        ("3 48 36 20 20\n", "outside of its 96 x 72 pixels"),
        ("-1 0.5 0.5 0.2 0.2\n", "is not a class number"),
    ],
)
def test_a_bad_label_is_named_and_nothing_is_imported(label: str, message: str, source: Path, out: Path) -> None:
    broken_yolo(source, label)
    with pytest.raises(DataError) as caught:
        box_set().import_from(source, out, {})
    assert "labels/train/shot_01.txt" in caught.value.found or "images/train/shot_01.jpg" in caught.value.found
    assert message in caught.value.found
    assert "nothing was imported" in caught.value.fix
    assert not out.exists()


def test_all_problems_are_noted_at_once_the_first_twenty_by_name(source: Path, out: Path) -> None:
    ones = some(24, 8)
    layouts.yolo(source, ones)
    for one in ones[:23]:
        put(source / "images" / one.split / f"{one.name}.jpg", one.body[:-100])
    put(source / "labels" / "train" / "lonely.txt", "")
    with pytest.raises(DataError) as caught:
        box_set().import_from(source, out, {})
    assert "24 problems" in caught.value.found
    assert "labels/train/lonely.txt: a label without its picture" in caught.value.found
    assert "truncated" in caught.value.found
    assert "and 4 more" in caught.value.found


def test_boxes_a_little_over_the_edge_are_cut_and_outlines_become_boxes(source: Path, out: Path) -> None:
    broken_yolo(source, "3 0.02 0.5 0.1 0.2\n3 0.2 0.2 0.4 0.2 0.4 0.5 0.3 0.6\n3 0.5 0.5 0 0.3\n")
    notes = "\n".join(box_set().import_from(source, out, {}).notes)
    assert "1 boxes cut off at the picture's edge" in notes
    assert "1 outlines became the boxes around them" in notes
    assert "1 boxes without width or height left out" in notes
    first, second = (pixels for _, pixels in boxes_at(out)["shot_01"])
    assert np.allclose(first / (WIDTH, HEIGHT, WIDTH, HEIGHT), (0, 0.4, 0.07, 0.6), atol=1e-4)
    assert np.allclose(second / (WIDTH, HEIGHT, WIDTH, HEIGHT), (0.2, 0.2, 0.4, 0.6), atol=1e-4)


def test_label_text_of_boxes_refuses_a_class_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="hat"):
        text_of([LabelBox("hat", (0, 0, 1, 1))], CLASSES, WIDTH, HEIGHT)
