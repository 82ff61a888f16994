"""COCO json: `images`, `annotations`, `categories`. Files of several tasks may lie side by side, as COCO's own do."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.cases.splits import split_from_folders, split_from_stem
from registry.cases.yolo_labels import LabelBox
from registry.formats import outlines
from registry.formats.source_folder import SourceFolder, Unreadable, collect_unreadable
from registry.formats.sources import ClassMatcher, ReadResult, SourceCase

_KEYS = ("images", "annotations", "categories")
_OTHER_TASKS = re.compile(r"person_keypoints|captions|stuff|panoptic|densepose|image_info", re.IGNORECASE)


def read(folder: SourceFolder, matcher: ClassMatcher) -> ReadResult | None:
    """Every picture with its boxes; None without a json in COCO's form.

    Leaves out files of other tasks (keypoints, stuff) for the same pictures. A json that cannot be read is a problem if
    there is another one in COCO's form, and else noted in `folder.unread`.
    """
    result = ReadResult("")
    unread: list[str] = []
    taken: dict[Path, Path] = {}
    named: dict[Path, set[str]] = {}
    # Files of other tasks come last. One is in memory at a time: they are large.
    for path in sorted(folder.with_suffix(".json"), key=lambda path: bool(_OTHER_TASKS.search(path.stem))):
        body = None
        with collect_unreadable(unread):
            body = _parse(folder, path)
        if body is None:
            continue
        pictures = {str(entry.get("file_name")) for entry in body["images"] if isinstance(entry, dict)}
        twin = next((other for other, theirs in named.items() if theirs & pictures), None)
        if twin is not None and _OTHER_TASKS.search(path.stem):
            result.notes.append(f"{folder.relative(path)} left out: {folder.relative(twin)} labels the same pictures")
            continue
        named[path] = pictures
        _add_file(folder, path, body, matcher, taken, result)
    (result.problems if named else folder.unread).extend(unread)
    if not named:
        return None
    result.format = f"COCO, {', '.join(folder.relative(path) for path in list(named)[:4])}"
    result.add_unlabelled(folder, taken)
    return result


def _parse(folder: SourceFolder, path: Path) -> dict[str, Any] | None:
    text = folder.text(path)
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{folder.relative(path)} is not JSON: {error}") from error
    return body if isinstance(body, dict) and all(isinstance(body.get(key), list) for key in _KEYS) else None


def _add_file(
    folder: SourceFolder,
    path: Path,
    body: Mapping[str, Any],
    matcher: ClassMatcher,
    taken: dict[Path, Path],
    result: ReadResult,
) -> None:
    """Adds a file's pictures to `result`, and to `taken`: picture -> the file that labels it."""
    name = folder.relative(path)
    images, doubled = _index(body["images"], "file_name")
    categories, again = _index(body["categories"], "name")
    result.problems += [f"{name}: {text}" for text in (*doubled, *again)]
    result.classes += [str(entry.get("name")) for entry in categories.entries.values()]
    boxes: dict[str, list[LabelBox]] = {}
    for entry in _annotations(body["annotations"]):
        try:
            found = _labelled_box(entry, images, categories, matcher, result.counts)
        except ValueError as error:
            result.problems.append(f"{name}, annotation {entry.get('id')}: {error}")
            continue
        if found is not None:
            boxes.setdefault(found[0], []).append(found[1])
    for key, entry in images.entries.items():
        file = str(entry.get("file_name"))
        problem = f"{name}: the picture {file!r} does not exist, or exists more than once"
        picture = result.find_picture(folder, [file], path.parent, problem)
        if picture in taken:
            result.problems.append(f"{name}: the picture {file!r} is also in {folder.relative(taken[picture])}")
        elif picture is not None:
            taken[picture] = path
            split = split_from_folders(picture, folder.root) or split_from_stem(path.stem)
            split = split or split_from_folders(path, folder.root)
            size = outlines.positive_pair(entry.get("width"), entry.get("height"))
            result.cases.append(SourceCase(picture, split, tuple(boxes.get(key, ())), size))


def _labelled_box(
    entry: Mapping[str, Any], images: _Index, categories: _Index, matcher: ClassMatcher, counts: Counter[str]
) -> tuple[str, LabelBox] | None:
    """An annotation's image key and its box; None for one that is left out. Raises ValueError for a faulty one."""
    image, category = images.key(entry.get("image_id")), categories.key(entry.get("category_id"))
    if str(entry.get("iscrowd")).strip().lower() in ("1", "1.0", "true", "yes"):
        counts["crowd regions left out"] += 1
        return None
    if image is None:
        raise ValueError(f"there is no image {entry.get('image_id')}")
    if category is None:
        raise ValueError(f"there is no category {entry.get('category_id')!r}")
    box = _box(entry, counts)
    if box is None or (name := matcher.match(str(categories.entries[category].get("name")))) is None:
        return None
    counts["boxes have a score: predictions used as labels"] += "score" in entry
    return image, LabelBox(name, box)


def _annotations(entries: Iterable[Any]) -> Iterable[Mapping[str, Any]]:
    """One by one; panoptic entries hold several."""
    for entry in entries:
        if isinstance(entry, dict):
            parts = entry.get("segments_info")
            if isinstance(parts, list):
                yield from ({"image_id": entry.get("image_id"), **part} for part in parts if isinstance(part, dict))
            else:
                yield entry


@dataclass
class _Index:
    """Entries by their id as text: `7`, `"7"` and `7.0` are one."""

    entries: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    unpadded: dict[str, list[str]] = field(default_factory=dict)

    def key(self, value: Any) -> str | None:
        """The key of an entry with this id; None if there is none. `000139` finds 139 where that is the only one."""
        key = _id_text(value)
        if key in self.entries:
            return key
        near = self.unpadded.get(key.lstrip("0"), []) if key is not None else []
        return near[0] if len(near) == 1 else None


def _index(entries: Iterable[Any], name: str) -> tuple[_Index, list[str]]:
    """Entries by id, and problems: entries without an id, or with the same one. An exact repetition is no problem."""
    index, problems = _Index(), []
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        key = _id_text(entry.get("id"))
        if key is None:
            problems.append(f"{name} {entry.get(name)!r} has no id")
        elif key not in index.entries:
            index.entries[key] = entry
            index.unpadded.setdefault(key.lstrip("0"), []).append(key)
        elif (first := index.entries[key].get(name)) != entry.get(name):
            what = "images" if name == "file_name" else "categories"
            problems.append(f"two {what} have the id {key}: {first!r} and {entry.get(name)!r}")
    return index, problems


def _id_text(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return re.sub(r"^(-?\d+)\.0*$", r"\1", str(value).strip()) or None


def _box(entry: Mapping[str, Any], counts: Counter[str]) -> outlines.Box | None:
    """x1, y1, x2, y2 in pixels, from the bbox or else around the outline; None (and counted) without either. Raises
    ValueError for values that are neither."""
    bbox, segmentation = entry.get("bbox"), entry.get("segmentation")
    four = outlines.numbers(bbox, 4)
    if four is not None and ((four[2] and four[3]) or not segmentation):
        x, y, w, h = four
        return x, y, x + w, y + h
    missing = bbox in (None, [], "") or (isinstance(bbox, list) and all(value is None for value in bbox))
    if four is None and not missing:
        raise ValueError(f"its bbox {str(bbox)[:40]} is not four numbers")
    if (box := outlines.of_segmentation(segmentation)) is not None:
        counts["boxes are those around outlines: their annotations have no bbox with a size"] += 1
        return box
    if segmentation:
        raise ValueError("it has no bbox, and its segmentation is neither polygons nor run lengths")
    counts["annotations with neither bbox nor outline left out"] += 1
    return None
