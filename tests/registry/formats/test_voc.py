"""Pascal VOC: one XML file for each picture."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from registry.cases.records import ImportResult
from registry.core.errors import DataError
from tests.registry import layouts
from tests.registry.formats.imported_boxes import boxes_at
from tests.registry.layouts import OURS, put, some
from tests.registry.made import box_set


def changed(root: Path, change: Callable[[str], str], out: Path) -> ImportResult:
    """An import after `change` of every xml; every box is the one that was written."""
    ones = some()
    layouts.voc(root, ones)
    for path in root.rglob("*.xml"):
        path.write_text(change(path.read_text()))
    taken = box_set().import_from(root, out, {})
    wanted = [box.box for one in ones for box in one.boxes if box.name in OURS]
    found = [pixels for boxes in boxes_at(out).values() for _, pixels in boxes]
    assert np.abs(np.array(found) - np.array(wanted)).max() < 0.75
    assert (taken.train, taken.val) == (8, 4)
    return taken


def test_voc_that_is_damaged_or_hostile_is_named(source: Path, out: Path) -> None:
    layouts.voc(source, some())
    put(source / "Annotations/shot_02.xml", "<annotation><object>")
    bomb = '<!DOCTYPE a [<!ENTITY a "aaaa">]><annotation><filename>&a;</filename></annotation>'
    put(source / "Annotations/shot_03.xml", bomb)
    put(source / "Annotations/shot_04.xml", bomb.encode("utf-16"))
    outer = (
        '<!DOCTYPE a SYSTEM "file:///etc/passwd" [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotation>&a;</annotation>'
    )
    put(source / "Annotations/shot_05.xml", outer)
    put(source / "Annotations/shot_99.xml", "<annotation><filename>shot_99.jpg</filename></annotation>")
    with pytest.raises(DataError) as caught:
        box_set().import_from(source, out, {})
    for message in (
        "shot_02.xml: damaged xml",
        "shot_03.xml: its DOCTYPE defines entities",
        "shot_04.xml: its DOCTYPE defines entities",
        "shot_05.xml: its DOCTYPE defines entities",
        "shot_99.xml: its picture 'shot_99.jpg'",
    ):
        assert message in caught.value.found


@pytest.mark.parametrize(
    "doctype",
    ["<!DOCTYPE annotation>", '<!DOCTYPE annotation SYSTEM "annotation.dtd">',
     "<!DOCTYPE annotation [<!ELEMENT annotation ANY>]>", '<?xml version="1.0"?>\n<!-- a -->\n<!DOCTYPE annotation>'],
)  # fmt: skip
def test_a_doctype_is_no_damage(doctype: str, source: Path, out: Path) -> None:
    changed(source, lambda text: f"{doctype}\n{text}", out)


def swapped(text: str, names: str) -> str:
    pairs = {"xmin": "xmax", "xmax": "xmin", "ymin": "ymax", "ymax": "ymin"}
    return re.sub(rf"(</?)([{names}](?:min|max))>", lambda found: f"{found[1]}{pairs[found[2]]}>", text)


@pytest.mark.parametrize("names", ["x", "y", "xy"])
def test_corners_in_any_order_are_sorted_and_counted(names: str, source: Path, out: Path) -> None:
    taken = changed(source, lambda text: swapped(text, names), out)
    assert any("boxes were drawn from another corner" in note for note in taken.notes)


def as_polygon(text: str) -> str:
    def points(found: re.Match[str]) -> str:
        x1, y1, x2, y2 = (int(found[n]) for n in range(1, 5))
        pairs = ((x1, y1), (x2, y1), (x2, y2), (x1, y2))
        return (
            "<polygon>"
            + "".join(f"<x{n}>{x}</x{n}><y{n}>{y}</y{n}>" for n, (x, y) in enumerate(pairs, 1))
            + "</polygon>"
        )

    return re.sub(BOUNDS, points, text)


BOUNDS = r"<bndbox><xmin>(\d+)</xmin><ymin>(\d+)</ymin><xmax>(\d+)</xmax><ymax>(\d+)</ymax></bndbox>"


def as_turned(text: str) -> str:
    """roLabelImg's, by a right angle: width and height change places."""

    def turned(found: re.Match[str]) -> str:
        x1, y1, x2, y2 = (int(found[n]) for n in range(1, 5))
        values = {"cx": (x1 + x2) / 2, "cy": (y1 + y2) / 2, "w": y2 - y1, "h": x2 - x1, "angle": np.pi / 2}
        return "<robndbox>" + "".join(f"<{key}>{value}</{key}>" for key, value in values.items()) + "</robndbox>"

    return re.sub(BOUNDS, turned, text)


@pytest.mark.parametrize(
    "change",
    [
        as_polygon,
        as_turned,
        lambda text: text.replace("<filename>shot", "<filename>D:\\old\\shot"),
        lambda text: text.replace(".jpg</filename>", "</filename>"),
        lambda text: re.sub("<filename>.*</filename>", "<filename></filename>", text),
        lambda text: re.sub("<size>.*</size>", "<size><width>0</width><height>0</height></size>", text),
        lambda text: re.sub(r"(<x\w+>\d+)<", r"\1.25<", text),
        lambda text: text.replace("<object>", "<object><part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"),
    ],
)
def test_what_programs_write_comes_in_as_its_boxes(change, source: Path, out: Path) -> None:
    changed(source, change, out)


@pytest.mark.parametrize("name", ["shot_00.jpg", "image.jpg", "000.png"])
def test_one_filename_in_every_xml_means_nothing(name: str, source: Path, out: Path) -> None:
    taken = changed(source, lambda text: re.sub("<filename>.*</filename>", f"<filename>{name}</filename>", text), out)
    assert any("16 xml files have the same <filename> as others" in note for note in taken.notes)


def test_a_filename_of_its_own_goes_before_the_xml_s(source: Path, out: Path) -> None:
    ones = some()
    layouts.voc(source, ones)
    for n, path in enumerate(sorted(source.rglob("*.xml"))):
        path.rename(path.with_name(f"{n:03d}.xml"))
    (source / "ImageSets").rename(source / "lists")
    assert box_set().import_from(source, out, {}).train == 8


def test_lists_of_other_tasks_do_not_overrule_main(source: Path, out: Path) -> None:
    layouts.voc(source, some())
    for task in ("Segmentation", "Layout", "Action"):
        put(source / "ImageSets" / task / "train.txt", "shot_08\nshot_09\n")
        put(source / "ImageSets" / task / "val.txt", "shot_00\nshot_01\n")
    assert box_set().import_from(source, out, {}).val == 4
    held = [case.id for case in box_set().cases(out) if case.split != "train"]
    assert held == [f"shot_{n:02d}" for n in range(8, 16)]
