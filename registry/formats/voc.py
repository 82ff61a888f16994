"""Pascal VOC: an xml for each picture, and lists of the splits in `ImageSets/Main`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, sin
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from registry.cases.yolo_labels import LabelBox
from registry.formats import outlines, split_lists
from registry.formats.source_folder import Folder, Unreadable
from registry.formats.sources import UNTAKEN_LABELS, FoundCase, Names, Reading, split_of

_DECLARED = re.compile(rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._:-]{1,40})["']""")


@dataclass(frozen=True)
class _Annotation:
    path: Path
    root: Element
    name: str


def sources(folder: Folder) -> list[Path]:
    """The xml files with an `<annotation>`, also damaged ones."""
    return [
        path for path in folder.with_suffix(".xml") if b"<annotation" in path.read_bytes()[:4000].replace(b"\0", b"")
    ]


def read(folder: Folder, paths: Sequence[Path], names: Names) -> Reading:
    """Every picture with the boxes of its xml."""
    reading = Reading(f"Pascal VOC, {len(paths)} xml files")
    splits = split_lists.listed(folder)
    reading.problems, reading.notes = splits.problems, splits.notes
    found = [one for path in paths if (one := _parse(folder, path, reading)) is not None]
    stale = _stale(found)
    taken: set[Path] = set()
    for one in found:
        shown, near = folder.shown(one.path), one.path.parent
        named = "" if (near, one.name) in stale else one.name
        picture = (folder.picture(named, near) if named else None) or folder.picture(one.path.stem, near)
        if picture is None and any(folder.is_untaken(name, near) for name in (named, one.path.stem) if name):
            reading.counts[UNTAKEN_LABELS] += 1
            continue
        if picture is None or picture in taken:
            why = "is there more than once or not at all" if picture is None else "has another xml, too"
            reading.problems.append(f"{shown}: its picture {named or one.path.stem!r} {why}")
            continue
        taken.add(picture)
        reading.counts[
            "xml files name a picture that others name, too, and go with that of their own name"
        ] += not named
        boxes = _boxes(one.root, shown, names, reading)
        split = splits.listed.get(picture) or split_of(one.path, folder.root) or split_of(picture, folder.root)
        reading.found.append(FoundCase(picture, split, boxes, _size(one.root)))
    reading.found += [FoundCase(path, split_of(path, folder.root)) for path in folder.pictures if path not in taken]
    return reading


def _parse(folder: Folder, path: Path, reading: Reading) -> _Annotation | None:
    """None (and a problem) for an xml that cannot be read."""
    shown, body = folder.shown(path), path.read_bytes()
    declared = found[1].decode() if (found := _DECLARED.match(body)) else ""
    try:
        text = folder.decoded(path, body, folder.witness(path.parent), declared)
        # As text: the parser itself knows few encodings, and now none needs to be known.
        root = fromstring(text.lstrip("\ufeff \t\r\n"), forbid_dtd=False)
    except Unreadable as error:
        reading.problems.append(f"{error}" + (f" (it says that it is {declared})" if declared else ""))
        return None
    except DefusedXmlException:
        reading.problems.append(f"{shown}: its DOCTYPE defines entities, which may grow without end: remove them")
        return None
    except (ParseError, ValueError) as error:
        reading.problems.append(f"{shown}: damaged xml: {error}")
        return None
    return _Annotation(path, root, (root.findtext("filename") or "").strip())


def _stale(found: Sequence[_Annotation]) -> set[tuple[Path, str]]:
    """File names that several xml files of one folder name: copied from the first of them, or a program's default."""
    counts = Counter((one.path.parent, one.name) for one in found if one.name)
    return {key for key, count in counts.items() if count > 1}


def _boxes(root: Element, shown: str, names: Names, reading: Reading) -> tuple[LabelBox, ...]:
    boxes = []
    for number, entry in enumerate(root.iter("object"), start=1):
        label, box = (entry.findtext("name") or "").strip(), _box(entry)
        if box is None or not label:
            reading.problems.append(f"{shown}: object {number} has no name or no bndbox of four numbers")
        elif (match := names.match(label)) is not None:
            boxes.append(LabelBox(match, box))
    return tuple(boxes)


def _box(entry: Element) -> tuple[float, float, float, float] | None:
    """Of the bndbox, or else around the polygon or the turned box (roLabelImg's `robndbox`)."""
    if four := outlines.numbers(_texts(entry, "bndbox", ("xmin", "ymin", "xmax", "ymax")), 4):
        return four[0], four[1], four[2], four[3]
    polygon = entry.find("polygon")
    if polygon is not None:
        cells = [(one.text or "").strip() for one in polygon.iter() if len(one) == 0 and one.tag[:1] in "xy"]
        points = outlines.numbers(cells, len(cells))
        return outlines.around(points) if points else None
    if five := outlines.numbers(_texts(entry, "robndbox", ("cx", "cy", "w", "h", "angle")), 5):
        cx, cy, w, h, angle = five
        half_w = (abs(w * cos(angle)) + abs(h * sin(angle))) / 2
        half_h = (abs(w * sin(angle)) + abs(h * cos(angle))) / 2
        return cx - half_w, cy - half_h, cx + half_w, cy + half_h
    return None


def _texts(entry: Element, tag: str, names: Sequence[str]) -> list[Any]:
    return [entry.findtext(f"{tag}/{name}") for name in names]


def _size(root: Element) -> tuple[float, float] | None:
    found = outlines.numbers([root.findtext("size/width"), root.findtext("size/height")], 2)
    return (found[0], found[1]) if found and min(found) > 0 else None
