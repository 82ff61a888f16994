"""Pictures with boxes, as other people keep them: YOLO (also Roboflow's), COCO json, Pascal VOC xml, a table."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml

from registry.vision import yolo_labels
from registry.vision.sources import (
    Folder,
    Found,
    Names,
    Reading,
    Table,
    attributes,
    label_column,
    own_attributes,
    plain,
    split_named,
    split_of,
    tables,
)  # fmt: skip
from registry.vision.yolo_labels import TrueBox

LAYOUTS = (
    "YOLO: data.yaml with images/ and labels/ (Roboflow: train/images, train/labels, valid/...); "
    "COCO: instances_*.json with the images; Pascal VOC: Annotations/*.xml with JPEGImages/; "
    "a csv with columns path, label, x1, y1, x2, y2 and, if there is one, split"
)
MOST_LABEL_BYTES = 1 << 30
_CORNERS = (("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"), ("left", "top", "right", "bottom"),
            ("x0", "y0", "x1", "y1"))  # fmt: skip
_SIZES = (("x", "y", "w", "h"), ("x", "y", "width", "height"), ("left", "top", "width", "height"))


def read(folder: Folder, names: Names, classes: Sequence[str]) -> Reading | None:
    """The first format that is there; None if there is none. `classes`: the model's."""
    if (yamls := [path for path in folder.ending(".yaml", ".yml") if (said := _names_in(path))]) and said:
        return _yolo(folder, yamls[0], said, names)
    if jsons := [(path, body) for path in folder.ending(".json") if (body := _coco_in(path))]:
        return _coco(folder, jsons, names)
    if xmls := [path for path in folder.ending(".xml") if b"<annotation" in path.read_bytes()[:2000]]:
        return _voc(folder, xmls, names)
    for table in tables(folder):
        if columns := _box_columns(table):
            return _table(folder, table, columns, names, classes)
    for path in folder.files:  # darknet's lists of names
        if path.name in ("classes.txt", "obj.names", "names.txt") and folder.ending(".txt") != [path]:
            listed = [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
            return _yolo(folder, path, dict(enumerate(filter(None, listed))), names)
    return None


# --- YOLO ---


def _names_in(path: Path) -> dict[int, str]:
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
        names = said["names"]
        return {int(n): str(name) for n, name in (names.items() if isinstance(names, dict) else enumerate(names))}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError):
        return {}


def _yolo(folder: Folder, source: Path, numbers: Mapping[int, str], names: Names) -> Reading:
    reading = Reading(f"YOLO, {folder.shown(source)}")
    said = _said_splits(source) if source.suffix in (".yaml", ".yml") else {}
    known = own_attributes(folder)
    beside = {path.with_suffix(".txt") for path in folder.pictures}
    texts = [path for path in folder.ending(".txt") if path != source]
    labels = {path for path in texts if path in beside or _is_label(path, folder.root)}
    polygons = 0
    for picture in folder.pictures:
        split = next((s for at, s in said.items() if picture.is_relative_to(at)), "") or split_of(picture, folder.root)
        label = next((path for path in _label_paths(picture, folder.root) if path in labels), None)
        if label is None:
            reading.found.append(Found(picture, split))
            continue
        labels.discard(label)
        lines, wrong = _lines(label)
        wrong += [f"class number {n} is not in {source.name}" for n in {one.number for one in lines} - set(numbers)]
        reading.problems += [f"{folder.shown(label)}: {text}" for text in wrong]
        polygons += sum(one.polygon for one in lines)
        matched = ((names.match(numbers[one.number]), one.box) for one in lines if one.number in numbers)
        boxes = tuple(TrueBox(name, box) for name, box in matched if name is not None)
        reading.found.append(Found(picture, split, boxes, (1, 1), known.get(picture, {})))
    reading.problems += [f"{folder.shown(path)}: a label without its picture" for path in sorted(labels)]
    reading.notes += [f"{polygons} outlines became the boxes around them"] if polygons else []
    return reading


def _said_splits(source: Path) -> dict[Path, str]:
    """Folders that data.yaml names. Roboflow's `../train/images` means `train/images` beside the file."""
    said = yaml.safe_load(source.read_text(encoding="utf-8"))
    found: dict[Path, str] = {}
    for key, split in (("train", "train"), ("val", "val"), ("valid", "val"), ("test", "val")):
        values = said.get(key) or []
        for value in [values] if isinstance(values, str) else values:
            inner = re.sub(r"^(\.\.?/)+", "", str(value).replace("\\", "/"))
            for base in (source.parent / str(said.get("path") or "."), source.parent):
                if inner and (base / inner).is_dir() and base / inner != base:
                    found.setdefault(base / inner, split)
    return found


def _is_label(path: Path, root: Path) -> bool:
    """A text file that holds numbers, or lies where labels do; not a README or a list of files."""
    if "labels" in (part.lower() for part in path.relative_to(root).parts[:-1]):
        return path.name not in ("classes.txt", "notes.txt")
    head = path.read_bytes()[:200].decode("utf-8", "replace").split("\n", 1)[0].split()
    return bool(head) and all(re.fullmatch(r"[-+.\deE]+", cell) for cell in head)


def _label_paths(picture: Path, root: Path) -> list[Path]:
    """Where its label may be: `labels` for the last `images` of its path, or beside it."""
    parts = list(picture.relative_to(root).with_suffix(".txt").parts)
    found = [picture.with_suffix(".txt")]
    for at in range(len(parts) - 2, -1, -1):
        if parts[at].lower() == "images":
            found.insert(0, root.joinpath(*parts[:at], "labels", *parts[at + 1 :]))
            break
    return found


def _lines(label: Path) -> tuple[list[yolo_labels.Line], list[str]]:
    try:
        return yolo_labels.parse(label.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        return [], ["no text"]


# --- COCO ---


def _coco_in(path: Path) -> dict[str, Any] | None:
    try:
        if path.stat().st_size > MOST_LABEL_BYTES:
            return None
        body = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None
    wanted = ("images", "annotations", "categories")
    return body if isinstance(body, dict) and all(isinstance(body.get(key), list) for key in wanted) else None


def _coco(folder: Folder, sources: Sequence[tuple[Path, dict[str, Any]]], names: Names) -> Reading:
    reading = Reading(f"COCO, {', '.join(folder.shown(path) for path, _ in sources[:4])}")
    taken: set[Path] = set()
    crowds = 0
    for path, body in sources:
        shown = folder.shown(path)
        numbers = {entry.get("id"): str(entry.get("name")) for entry in body["categories"] if isinstance(entry, dict)}
        boxes: dict[Any, list[TrueBox]] = {}
        images = {entry.get("id"): entry for entry in body["images"] if isinstance(entry, dict)}
        for entry in body["annotations"]:
            box, image = _numbers(entry.get("bbox"), 4), entry.get("image_id")
            where = f"{shown}, annotation {entry.get('id')}"
            if entry.get("iscrowd"):
                crowds += 1
            elif image not in images:
                reading.problems.append(f"{where}: there is no image {image}")
            elif box is None or entry.get("category_id") not in numbers:
                reading.problems.append(f"{where}: its bbox or category_id is none")
            elif (name := names.match(numbers[entry["category_id"]])) is not None:
                x, y, w, h = box
                boxes.setdefault(image, []).append(TrueBox(name, (x, y, x + w, y + h)))
        for key, entry in images.items():
            picture = folder.picture(str(entry.get("file_name")), path.parent)
            if picture is None or picture in taken:
                why = "is there more than once or not at all" if picture is None else "was named before"
                reading.problems.append(f"{shown}: the picture {entry.get('file_name')!r} {why}")
                continue
            taken.add(picture)
            split = split_of(picture, folder.root) or _split_in_stem(path.stem) or split_of(path, folder.root)
            size = _numbers((entry.get("width"), entry.get("height")), 2)
            reading.found.append(Found(picture, split, tuple(boxes.get(key, ())), _size(size)))
    reading.notes += [f"{crowds} crowd regions left out"] if crowds else []
    reading.found += [Found(path, split_of(path, folder.root)) for path in folder.pictures if path not in taken]
    return reading


def _split_in_stem(stem: str) -> str:
    """`instances_val2017` -> `val`."""
    return next(filter(None, (split_named(part) for part in re.split(r"[_.\-]", stem))), "")


def _numbers(values: Any, count: int) -> tuple[float, ...] | None:
    if not isinstance(values, list | tuple) or len(values) != count:
        return None
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def _size(numbers: tuple[float, ...] | None) -> tuple[float, float] | None:
    return (numbers[0], numbers[1]) if numbers and min(numbers) > 0 else None


# --- Pascal VOC ---


def _voc(folder: Folder, sources: Sequence[Path], names: Names) -> Reading:
    reading = Reading(f"Pascal VOC, {len(sources)} xml files")
    listed = _image_sets(folder)
    taken: set[Path] = set()
    for path in sources:
        shown = folder.shown(path)
        root = _parse(path)
        if root is None:
            reading.problems.append(f"{shown}: damaged xml")
            continue
        name = (root.findtext("filename") or "").strip()
        picture = folder.picture(name, path.parent) if name else None
        picture = picture or folder.picture(path.stem, path.parent)
        if picture is None or picture in taken:
            reading.problems.append(f"{shown}: its picture {name or path.stem!r} is not there, or not only there")
            continue
        taken.add(picture)
        boxes = []
        for number, entry in enumerate(root.iter("object"), start=1):
            corners = [entry.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
            box, label = _numbers(corners, 4), (entry.findtext("name") or "").strip()
            if box is None or not label:
                reading.problems.append(f"{shown}: object {number} has no name or no bndbox of four numbers")
            elif (match := names.match(label)) is not None:
                boxes.append(TrueBox(match, (box[0], box[1], box[2], box[3])))
        size = _size(_numbers((root.findtext("size/width"), root.findtext("size/height")), 2))
        split = listed.get(path.stem) or split_of(path, folder.root) or split_of(picture, folder.root)
        reading.found.append(Found(picture, split, tuple(boxes), size))
    reading.found += [Found(path, split_of(path, folder.root)) for path in folder.pictures if path not in taken]
    return reading


def _parse(path: Path) -> ElementTree.Element | None:
    body = path.read_bytes()
    if b"<!ENTITY" in body or b"<!DOCTYPE" in body:  # entities may expand without end; VOC has none
        return None
    try:
        return ElementTree.fromstring(body)
    except ElementTree.ParseError:
        return None


def _image_sets(folder: Folder) -> dict[str, str]:
    """`ImageSets/Main/{train,val,test}.txt`: picture stem -> split."""
    found = {}
    for path in folder.ending(".txt"):
        split = split_named(path.stem)
        if split and "ImageSets" in path.parts:
            for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
                if line.strip():
                    found[line.split()[0]] = split
    return found


# --- a table ---


def _box_columns(table: Table) -> tuple[tuple[str, str, str, str], bool] | None:
    """The four columns, `head_x0` and the like as well, and whether the last two are width and height."""
    by_name = {name.casefold(): name for name in table.columns}
    prefixes = ["", *sorted({name.rpartition("_")[0] + "_" for name in by_name if "_" in name})]
    for sets, sizes in ((_CORNERS, False), (_SIZES, True)):
        for prefix in prefixes:
            for four in sets:
                if all(prefix + name in by_name for name in four):
                    a, b, c, d = (by_name[prefix + name] for name in four)
                    return (a, b, c, d), sizes
    return None


def _table(
    folder: Folder,
    table: Table,
    columns: tuple[tuple[str, str, str, str], bool],
    names: Names,
    classes: Sequence[str],
) -> Reading:
    four, sizes = columns
    by_name = {plain(name): name for name in table.columns}
    whole = tuple(by_name.get(key, "") for key in ("width", "height"))
    whole = whole if all(whole) and not set(whole) & set(four) else ("", "")
    reading = Reading(f"{folder.shown(table.path)}: path {table.picture!r}, boxes {', '.join(four)}")
    column = label_column(table, names)
    extra = attributes(table, {table.picture, table.split, column, *four, *whole}, reading)
    boxes: dict[Path, list[TrueBox]] = {}
    said: dict[Path, Found] = {}
    for number, (line, more) in enumerate(zip(table.lines, extra, strict=True), start=2):
        where = f"{table.path.name}, line {number}"
        path = folder.picture(line[table.picture], table.path.parent)
        if path is None:
            reading.problems.append(f"{where}: there is no picture {line[table.picture]!r}")
            continue
        split = split_named(line[table.split]) if table.split else split_of(path, folder.root)
        size = _size(_numbers([line[name] for name in whole], 2)) if all(whole) else None
        said.setdefault(path, Found(path, split, (), size, more))
        cells = [line[name] for name in four]
        box = _numbers(cells, 4)
        label = line[column] if column else classes[0] if len(classes) == 1 else ""
        if not any(cells):
            continue  # nothing in this picture
        if box is None or not label:
            reading.problems.append(f"{where}: no label, or its box is not four numbers")
        elif (name := names.match(label)) is not None:
            x, y, c, d = box
            boxes.setdefault(path, []).append(TrueBox(name, (x, y, x + c, y + d) if sizes else (x, y, c, d)))
    for path, one in said.items():
        reading.found.append(Found(path, one.split, tuple(boxes.get(path, ())), one.size, one.attributes))
    reading.found += [Found(path, split_of(path, folder.root)) for path in folder.pictures if path not in said]
    return reading
