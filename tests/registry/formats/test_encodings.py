"""Every format's files in the encodings that programs write: the same boxes, or one message that names the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from registry.core.errors import DataError
from tests.registry import layouts
from tests.registry.formats.imported_boxes import boxes_at
from tests.registry.layouts import BOXES, CLASS_FORMATS, OURS, One, put, some
from tests.registry.made import box_set, class_set

ALPHABETS = {
    "utf-8-sig": "图片",
    "utf-16": "图片",
    "utf-16-le": "",
    "utf-32": "图片",
    "cp1252": "Größe",
    "gb18030": "图片",
    "cp932": "写真ソ",
    "cp950": "圖片",
    "cp949": "사진",
    "cp1251": "фото",
}
TEXTS = (".txt", ".json", ".xml", ".csv", ".yaml")


def recode(root: Path, encoding: str, *endings: str) -> None:
    for path in root.rglob("*"):
        if path.suffix in endings:
            text = path.read_text(encoding="utf-8")
            if path.suffix == ".xml" and encoding.isascii():
                text = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>\n{text}'
            path.write_bytes(text.encode(encoding))


def same_boxes(ones: list[One], out: Path) -> bool:
    wanted = [box.box for one in ones for box in one.boxes if box.name in OURS]
    found = [pixels for boxes in boxes_at(out).values() for _, pixels in boxes]
    return np.shape(found) == np.shape(wanted) and float(np.abs(np.array(found) - np.array(wanted)).max()) < 0.5


@pytest.mark.parametrize("layout", BOXES)
@pytest.mark.parametrize("encoding", ALPHABETS)
def test_every_box_format_in_every_encoding(layout: str, encoding: str, source: Path, out: Path) -> None:
    """Names of files are in the alphabet, too."""
    ones = [One(f"{ALPHABETS[encoding]}_{n:02d}", o.split, o.body, o.boxes) for n, o in enumerate(some())]
    BOXES[layout](source, ones)
    recode(source, encoding, *TEXTS)
    taken = box_set().import_from(source, out, {})
    assert (taken.train, taken.val, taken.unlabelled) == (8, 4, 0)
    assert same_boxes(ones, out)


@pytest.mark.parametrize("layout", ["class_table", "column_by_values"])
@pytest.mark.parametrize("encoding", ALPHABETS)
def test_every_table_of_classes_in_every_encoding(layout: str, encoding: str, source: Path, out: Path) -> None:
    ones = [One(f"{ALPHABETS[encoding]}_{n:02d}", o.split, o.body, o.boxes) for n, o in enumerate(some(16, 8))]
    CLASS_FORMATS[layout](source, ones)
    recode(source, encoding, ".csv")
    class_set().import_from(source, out, {})
    wanted = [OURS[name] for one in ones if (name := layouts.class_of(one)) in OURS]
    assert [case.truth for case in class_set().cases(out)] == wanted


@pytest.mark.parametrize("encoding", ["gb18030", "cp932", "cp1252"])
@pytest.mark.parametrize("layout", ["yolo", "darknet", "coco", "voc", "table"])
def test_classes_in_another_alphabet_are_found_by_map(layout: str, encoding: str, source: Path, out: Path) -> None:
    word = {"gb18030": "圆盘", "cp932": "円盤", "cp1252": "Räder"}[encoding]
    ones = some()
    BOXES[layout](source, ones)
    for path in source.rglob("*"):
        if path.suffix in TEXTS:
            path.write_bytes(path.read_text().replace("DISC", word).encode(encoding))
    taken = box_set().import_from(source, out, {"map": {word: "disc"}})
    assert same_boxes(ones, out)
    assert any(f"read as {encoding}" in note for note in taken.notes)


@pytest.mark.parametrize("declared", ["gb2312", "GBK", "big5", "shift_jis", "euc-kr", "no-such-encoding", "utf-16"])
def test_voc_in_encodings_that_the_parser_does_not_know(declared: str, source: Path, out: Path) -> None:
    ones = some()
    layouts.voc(source, ones)
    for path in source.rglob("*.xml"):
        text = f'<?xml version="1.0" encoding="{declared}"?>\n' + path.read_text()
        written = "utf-8" if declared == "no-such-encoding" else declared
        path.write_bytes(text.replace("<filename>", "<folder>中</folder><filename>").encode(written, "replace"))
    assert box_set().import_from(source, out, {}).train == 8
    assert same_boxes(ones, out)


@pytest.mark.parametrize(
    ("layout", "file"),
    [("yolo", "labels/train/shot_01.txt"), ("yolo", "data.yaml"), ("coco", "annotations/instances_val2017.json"),
     ("voc", "Annotations/shot_02.xml"), ("table", "boxes.csv"), ("darknet", "classes.txt")],
)  # fmt: skip
@pytest.mark.parametrize("body", [b"\xff\xfe\x00", bytes(range(256)), b"\xef\xbb\xbf\xff<annotation"])
def test_a_file_that_is_no_text_is_named(layout: str, file: str, body: bytes, source: Path, out: Path) -> None:
    BOXES[layout](source, some())
    put(source / file, b"<annotation" + body if layout == "voc" else body)
    with pytest.raises(DataError) as caught:
        box_set().import_from(source, out, {})
    assert file in caught.value.found
    assert not out.exists()


def test_a_table_of_classes_that_cannot_be_read_stops_rather_than_the_folders_decide(source: Path, out: Path) -> None:
    layouts.class_folders(source, some(16, 8))
    put(source / "labels.csv", b"path,label\n" + bytes(range(256)))
    with pytest.raises(DataError, match=r"labels\.csv is not text"):
        class_set().import_from(source, out, {})
    put(source / "labels.csv", "path,label\n" + "x" * 200_000)
    with pytest.raises(DataError, match=r"labels\.csv is not a readable table"):
        class_set().import_from(source, out, {})
