"""Pascal VOC: an xml for each picture, and lists of the splits in `ImageSets/Main`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import cos, sin
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from registry.cases.splits import split_from_folders
from registry.cases.yolo_labels import LabelBox
from registry.formats import outlines
from registry.formats.source_folder import SourceFolder, Unreadable, collect_unreadable
from registry.formats.sources import ClassMatcher, ReadResult, SourceCase
from registry.formats.split_lists import SourceSplits


def annotation_files(folder: SourceFolder) -> list[Path]:
    """The xml files with an `<annotation>`, also damaged ones."""
    return [
        path for path in folder.with_suffix(".xml") if b"<annotation" in path.read_bytes()[:4000].replace(b"\0", b"")
    ]


def read(folder: SourceFolder, paths: Sequence[Path], matcher: ClassMatcher) -> ReadResult:
    """Every picture with the boxes of its xml."""
    splits = SourceSplits()
    splits.add_known_lists(folder)
    result = ReadResult(f"Pascal VOC, {len(paths)} xml files", problems=splits.problems, notes=splits.notes)
    roots: dict[Path, Element] = {}
    for path in paths:
        with collect_unreadable(result.problems):
            roots[path] = _parse(folder, path)
    files = {path: (root.findtext("filename") or "").strip() for path, root in roots.items()}
    # A name in several files of one folder was copied from the first of them, or is a program's default.
    counts = Counter((path.parent, name) for path, name in files.items() if name)
    taken: set[Path] = set()
    for path, root in roots.items():
        shown, own = folder.relative(path), files[path]
        repeated = counts[path.parent, own] > 1
        names = [path.stem] if repeated or not own else [own, path.stem]
        problem = f"{shown}: its picture {names[0]!r} does not exist, or exists more than once"
        picture = result.find_picture(folder, names, path.parent, problem)
        if picture is None:
            continue
        if picture in taken:
            result.problems.append(f"{shown}: its picture {names[0]!r} has another xml")
            continue
        taken.add(picture)
        result.counts["xml files have the same <filename> as others: matched by their own names"] += repeated
        boxes = _boxes(root, shown, matcher, result)
        split = splits.listed.get(picture) or split_from_folders(path, folder.root)
        split = split or split_from_folders(picture, folder.root)
        size = outlines.positive_pair(root.findtext("size/width"), root.findtext("size/height"))
        result.cases.append(SourceCase(picture, split, boxes, size))
    result.add_unlabelled(folder, taken)
    return result


def _parse(folder: SourceFolder, path: Path) -> Element:
    # The parser knows few encodings, so it gets decoded text.
    text = folder.text(path, folder.count_names(path.parent), xml=True).lstrip("\ufeff \t\r\n")
    shown = folder.relative(path)
    try:
        return fromstring(text, forbid_dtd=False)
    except DefusedXmlException as error:
        raise Unreadable(f"{shown}: its DOCTYPE defines entities, which may expand without end: remove them") from error
    except (ParseError, ValueError) as error:
        raise Unreadable(f"{shown}: damaged xml: {error}") from error


def _boxes(root: Element, shown: str, matcher: ClassMatcher, result: ReadResult) -> tuple[LabelBox, ...]:
    boxes = []
    for number, entry in enumerate(root.iter("object"), start=1):
        label, box = (entry.findtext("name") or "").strip(), _box(entry)
        if box is None or not label:
            result.problems.append(f"{shown}: object {number} has no name or no bndbox of four numbers")
        elif (name := matcher.match(label)) is not None:
            boxes.append(LabelBox(name, box))
    return tuple(boxes)


def _box(entry: Element) -> outlines.Box | None:
    """The bndbox, or else the box around the polygon or the rotated box (roLabelImg's `robndbox`)."""
    if four := _values(entry, "bndbox", "xmin", "ymin", "xmax", "ymax"):
        return four[0], four[1], four[2], four[3]
    polygon = entry.find("polygon")
    if polygon is not None:
        cells = [(one.text or "").strip() for one in polygon.iter() if len(one) == 0 and one.tag[:1] in "xy"]
        points = outlines.numbers(cells, len(cells))
        return outlines.around(points) if points else None
    if five := _values(entry, "robndbox", "cx", "cy", "w", "h", "angle"):
        cx, cy, w, h, angle = five
        half_w = (abs(w * cos(angle)) + abs(h * sin(angle))) / 2
        half_h = (abs(w * sin(angle)) + abs(h * cos(angle))) / 2
        return cx - half_w, cy - half_h, cx + half_w, cy + half_h
    return None


def _values(entry: Element, tag: str, *names: str) -> tuple[float, ...] | None:
    return outlines.numbers([entry.findtext(f"{tag}/{name}") for name in names], len(names))
