"""COCO json: `images`, `annotations`, `categories`; also of several tasks beside each other, as COCO itself comes."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.cases.yolo_labels import LabelBox
from registry.formats import outlines
from registry.formats.source_folder import Folder, Unreadable
from registry.formats.sources import UNTAKEN_LABELS, FoundCase, Names, Reading, split_in_stem, split_of

_KEYS = ("images", "annotations", "categories")
_OTHER_TASKS = re.compile(r"person_keypoints|captions|stuff|panoptic|densepose|image_info", re.IGNORECASE)
Box = tuple[float, float, float, float]


@dataclass
class _Source:
    """What one json says: the pictures by file name, with the size that it states and their boxes."""

    path: Path
    pictures: list[tuple[str, tuple[float, float] | None, tuple[LabelBox, ...]]] = field(default_factory=list)


def read(folder: Folder, names: Names) -> Reading | None:
    """Every picture with its boxes; None without a json in COCO's form. Files of other tasks (keypoints, stuff) for
    the same pictures are left out. A json that cannot be read is told in `folder.unread`."""
    reading = Reading("")
    jsons = sorted(
        folder.with_suffix(".json"), key=lambda path: bool(_OTHER_TASKS.search(path.stem))
    )  # those come last
    unread = len(folder.unread)
    taken: dict[Path, Path] = {}
    named: dict[Path, set[str]] = {}
    for path in jsons:
        body = _body(folder, path)  # one at a time: they are large
        if body is None:
            continue
        pictures = {str(entry.get("file_name")) for entry in body["images"] if isinstance(entry, dict)}
        twin = next((other for other, theirs in named.items() if theirs & pictures), None)
        if twin is not None and _OTHER_TASKS.search(path.stem):
            reading.notes.append(f"{folder.shown(path)} left out: {folder.shown(twin)} labels the same pictures")
            continue
        named[path] = pictures
        _take(folder, _read_one(folder, path, body, names, reading), taken, reading)
    if not named:
        return None
    reading.layout = f"COCO, {', '.join(folder.shown(path) for path in list(named)[:4])}"
    reading.problems += folder.unread[unread:]
    del folder.unread[unread:]
    reading.found += [FoundCase(path, split_of(path, folder.root)) for path in folder.pictures if path not in taken]
    return reading


def _body(folder: Folder, path: Path) -> dict[str, Any] | None:
    try:
        body = json.loads(folder.text(path))
    except Unreadable as error:
        folder.unread.append(str(error))
        return None
    except (ValueError, RecursionError) as error:
        folder.unread.append(f"{folder.shown(path)} is not JSON: {error}")
        return None
    return body if isinstance(body, dict) and all(isinstance(body.get(key), list) for key in _KEYS) else None


def _read_one(folder: Folder, path: Path, body: Mapping[str, Any], names: Names, reading: Reading) -> _Source:
    shown = folder.shown(path)
    images, doubled = _by_id(body["images"], "file_name")
    categories, again = _by_id(body["categories"], "name")
    reading.problems += [f"{shown}: {text}" for text in (*doubled, *again)]
    boxes: dict[str, list[LabelBox]] = {}
    for entry in _annotations(body["annotations"]):
        where = f"{shown}, annotation {entry.get('id')}"
        image, category = images.of(entry.get("image_id")), categories.of(entry.get("category_id"))
        box = _box(entry, reading.counts)
        if _flag(entry.get("iscrowd")):
            reading.counts["crowd regions left out"] += 1
        elif image is None:
            reading.problems.append(f"{where}: there is no image {entry.get('image_id')}")
        elif category is None:
            reading.problems.append(f"{where}: there is no category {entry.get('category_id')!r}")
        elif isinstance(box, str):
            reading.problems.append(f"{where}: {box}")
        elif box is not None and (name := names.match(str(categories.entries[category].get("name")))) is not None:
            boxes.setdefault(image, []).append(LabelBox(name, box))
            reading.counts["boxes have a score: predictions used as labels"] += "score" in entry
    pictures = [
        (str(entry.get("file_name")), _size(entry), tuple(boxes.get(key, ()))) for key, entry in images.entries.items()
    ]
    return _Source(path, pictures)


def _take(folder: Folder, source: _Source, taken: dict[Path, Path], reading: Reading) -> None:
    shown, near = folder.shown(source.path), source.path.parent
    for name, size, boxes in source.pictures:
        picture = folder.picture(name, near)
        if picture is None and folder.is_untaken(name, near):
            reading.counts[UNTAKEN_LABELS] += 1
        elif picture is None:
            reading.problems.append(f"{shown}: the picture {name!r} is there more than once or not at all")
        elif picture in taken:
            before = folder.shown(taken[picture])
            reading.problems.append(f"{shown}: the picture {name!r} was named before, in {before}")
        else:
            taken[picture] = source.path
            split = split_of(picture, folder.root) or split_in_stem(source.path.stem)
            split = split or split_of(source.path, folder.root)
            reading.found.append(FoundCase(picture, split, boxes, size))


def _annotations(entries: Iterable[Any]) -> Iterable[Mapping[str, Any]]:
    """One by one; panoptic ones hold several."""
    for entry in entries:
        if isinstance(entry, dict):
            parts = entry.get("segments_info")
            if isinstance(parts, list):
                yield from ({"image_id": entry.get("image_id"), **part} for part in parts if isinstance(part, dict))
            else:
                yield entry


@dataclass
class _Ids:
    """Entries by their id as text: `7`, `"7"` and `7.0` are one."""

    entries: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    loose: dict[str, list[str]] = field(default_factory=dict)

    def of(self, value: Any) -> str | None:
        """The id's key; None if there is no such entry. `000139` is 139 where nothing else is."""
        key = _key(value)
        if key in self.entries:
            return key
        near = self.loose.get(key.lstrip("0"), []) if key is not None else []
        return near[0] if len(near) == 1 else None


def _by_id(entries: Iterable[Any], name: str) -> tuple[_Ids, list[str]]:
    """Entries by id, and what is wrong: an id that several entries have. The same entry twice is one."""
    ids, wrong = _Ids(), []
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        key = _key(entry.get("id"))
        if key is None:
            wrong.append(f"{name} {entry.get(name)!r} has no id")
        elif key not in ids.entries:
            ids.entries[key] = entry
            ids.loose.setdefault(key.lstrip("0"), []).append(key)
        elif (first := ids.entries[key].get(name)) != entry.get(name):
            what = "images" if name == "file_name" else "categories"
            wrong.append(f"two {what} have the id {key}: {first!r} and {entry.get(name)!r}")
    return ids, wrong


def _key(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value).strip()
    return re.sub(r"^(-?\d+)\.0*$", r"\1", text) or None


def _flag(value: Any) -> bool:
    return value in (1, True) or str(value).strip().lower() in ("1", "true", "yes")


def _box(entry: Mapping[str, Any], counts: Counter[str]) -> Box | str | None:
    """x1, y1, x2, y2 in pixels, of the bbox or else around the outline; None (and counted) without either; what is
    wrong with a bbox that is none."""
    bbox = entry.get("bbox")
    four = outlines.numbers(bbox, 4)
    if four is not None and ((four[2] and four[3]) or not entry.get("segmentation")):
        x, y, w, h = four
        return x, y, x + w, y + h
    if (
        four is None
        and bbox not in (None, [], "")
        and not (isinstance(bbox, list) and all(one is None for one in bbox))
    ):
        return f"its bbox {str(bbox)[:40]} is not four numbers"
    if (box := outlines.of_segmentation(entry.get("segmentation"))) is not None:
        counts["boxes are those around outlines: their annotations have no bbox with a size"] += 1
        return box
    if entry.get("segmentation"):
        return "it has no bbox, and its segmentation is neither polygons nor run lengths"
    counts["annotations with neither bbox nor outline left out"] += 1
    return None


def _size(entry: Mapping[str, Any]) -> tuple[float, float] | None:
    found = outlines.numbers([entry.get("width"), entry.get("height")], 2)
    return (found[0], found[1]) if found and min(found) > 0 else None
