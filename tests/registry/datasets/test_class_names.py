"""The classes of a data set, in whatever format it is, for `models new --classes-from`."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.core.errors import DataError
from registry.datasets.class_names import read_class_names
from tests.registry import layouts
from tests.registry.layouts import THEIRS, put, some

ALPHABET = ["DISC", "hat", "Square", "Yellow Vest"]


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (layouts.yolo, list(THEIRS)),
        (layouts.roboflow, list(THEIRS)),
        (layouts.darknet, list(THEIRS)),
        (layouts.coco, list(THEIRS)),
        (layouts.voc, ALPHABET),
        (layouts.table, ALPHABET),
    ],
)
def test_classes_of_boxes_are_in_the_order_of_their_numbers(
    tmp_path: Path, write: Callable[..., None], expected: list[str]
) -> None:
    write(tmp_path, some())
    assert read_class_names(tmp_path, "boxes")[0] == expected


@pytest.mark.parametrize("write", [layouts.class_folders, layouts.class_table])
def test_classes_of_pictures_are_those_that_have_one(tmp_path: Path, write: Callable[..., None]) -> None:
    write(tmp_path, some())
    names, _ = read_class_names(tmp_path, "classes")
    assert names == sorted(names, key=str.casefold)
    assert {"DISC", "Square", "Yellow Vest"} <= set(names) <= set(ALPHABET)


def test_a_class_without_a_picture_is_a_class_and_spellings_of_one_are_one(tmp_path: Path) -> None:
    put(tmp_path / "data.yaml", "names: [zebra, Traffic Light, traffic_light, ant]\n")
    put(tmp_path / "images" / "a.jpg", some(1)[0].body)
    put(tmp_path / "labels" / "a.txt", "0 0.5 0.5 0.2 0.2\n")
    assert read_class_names(tmp_path, "boxes") == (["zebra", "Traffic Light", "ant"], "YOLO, data.yaml")


def test_masks_have_names_where_a_list_lies_beside_them(tmp_path: Path) -> None:
    put(tmp_path / "images" / "a.png", some(1)[0].body)
    with pytest.raises(DataError, match="names no class") as refused:
        read_class_names(tmp_path, "masks")
    assert "which hold numbers only" in refused.value.expected
    put(tmp_path / "classes.txt", "_background_\ncrack\nhole\n")
    assert read_class_names(tmp_path, "masks")[0] == ["crack", "hole"]


def test_a_zip_is_read_like_its_folder_and_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    layouts.class_folders(tmp_path / "in", some())
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for path in (tmp_path / "in").rglob("*"):
            archive.write(path, path.relative_to(tmp_path))
    assert read_class_names(tmp_path / "in.zip", "classes") == read_class_names(tmp_path / "in", "classes")
    put(tmp_path / "broken" / "data.yaml", "names: {{")
    put(tmp_path / "broken" / "a.jpg", some(1)[0].body)
    with pytest.raises(DataError, match=r"data\.yaml is not YAML"):
        read_class_names(tmp_path / "broken", "boxes")
