"""YOLO's layout: a text file of numbers for each picture, classes in a data.yaml, `classes.txt` or `obj.names`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import yaml

from registry.cases.yolo_labels import LabelBox
from registry.formats import split_lists, yolo_lines
from registry.formats.csv_tables import own_attributes
from registry.formats.source_folder import SPELLINGS, Folder, Unreadable, folder_or_list
from registry.formats.sources import UNTAKEN_LABELS, FoundCase, Names, Reading

MOST_CONFIGURATION = 4_000_000  # bytes of a data.yaml
_NAMES_FILES = ("classes.txt", "obj.names", "names.txt", "predefined_classes.txt")
_NO_LABELS = (*_NAMES_FILES, "notes.txt")


@dataclass(frozen=True)
class Configuration:
    """`source`: the file that numbers the classes; `said`: what else stands in it, or in darknet's `.data`."""

    source: Path
    numbers: Mapping[int, str]
    said: Mapping[str, object] = field(default_factory=dict)


def from_yaml(folder: Folder, names: Names) -> list[Configuration]:
    """The yaml files with `names`, in order; of those that number the classes alike one."""
    found: list[Configuration] = []
    for path in folder.with_suffix(".yaml", ".yml"):
        try:
            one = _in_yaml(folder, path, names)
        except Unreadable as error:
            folder.unread.append(str(error))
            continue
        if one is not None and all(dict(one.numbers) != dict(other.numbers) for other in found):
            found.append(one)
    return found


def from_list(folder: Folder, names: Names) -> Configuration | None:
    """darknet's and LabelImg's lists of names, and what a `.data` file beside them says."""
    said, lists = _in_data(folder)
    for path in [*lists, *(path for path in folder.files if path.name.lower() in _NAMES_FILES)]:
        if folder.with_suffix(".txt") != [path]:
            try:
                lines = folder.text(path, _known(names)).rstrip().splitlines()
            except Unreadable as error:
                folder.unread.append(str(error))
                continue
            return Configuration(path, {n: line.strip() for n, line in enumerate(lines) if line.strip()}, said)
    return None


def _in_yaml(folder: Folder, path: Path, names: Names) -> Configuration | None:
    shown = folder.shown(path)
    if path.stat().st_size > MOST_CONFIGURATION:
        raise Unreadable(f"{shown} is larger than {MOST_CONFIGURATION / 1e6:g} MB")
    text = folder.text(path, _known(names))
    try:
        # Everything stays text: a class is called "no" or "012", and not False or 10.
        said = yaml.load(text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise Unreadable(f"{shown} is not YAML: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(said, dict) or "names" not in said:
        if isinstance(said, dict) and {"nc", "train"} & set(said):
            raise Unreadable(f"{shown} has no `names`: the classes, in the order of their numbers")
        return None
    entries = said["names"]
    if isinstance(entries, str) and (place := folder_or_list(folder, entries, (path.parent, folder.root))):
        entries = [line.strip() for line in folder.text(place, _known(names)).splitlines()]
    pairs = entries.items() if isinstance(entries, dict) else enumerate(entries) if isinstance(entries, list) else ()
    numbers = {n: name for n, name in pairs if isinstance(name, str)}
    if not numbers or len(numbers) < len(entries) or not all(re.fullmatch(r"\s*\d{1,9}\s*", str(n)) for n in numbers):
        raise Unreadable(f"{shown}: `names` is not a list of names, or of numbers with their names")
    return Configuration(path, {int(n): name for n, name in numbers.items()}, said)


def _known(names: Names) -> Callable[[str], float]:
    """How many of the classes that the model has, or that --map names, stand in a text."""
    return lambda text: sum(names.knows(word) for word in re.split(r"[\n,:\[\]'\"]+", text) if word.strip())


def _in_data(folder: Folder) -> tuple[dict[str, object], list[Path]]:
    """darknet's and CVAT's `obj.data`: `train = data/train.txt`, `valid = ...`, `names = data/obj.names`."""
    for path in folder.with_suffix(".data"):
        try:
            pairs = re.findall(r"^\s*(\w+)\s*=\s*(.*?)\s*$", folder.text(path), re.MULTILINE)
        except Unreadable as error:
            folder.unread.append(str(error))
            continue
        said: dict[str, object] = dict(pairs)
        if "names" in said:
            said["path"] = path.parent.relative_to(folder.root).as_posix()
            place = folder_or_list(folder, str(said["names"]), (path.parent, folder.root))
            return said, [place] if place else []
    return {}, []


def read(folder: Folder, configuration: Configuration, names: Names) -> Reading:
    """Every picture with the boxes of its label file."""
    source, said = configuration.source, configuration.said
    reading = Reading(f"YOLO, {folder.shown(source)}")
    splits = split_lists.configured(folder, source, said)
    if not splits.listed and not splits.folders and not splits.problems:
        said_so = splits.notes
        splits = split_lists.listed(folder)
        splits.notes = said_so + splits.notes
    labels = _labels(folder, source, reading)
    lines: dict[Path, list[yolo_lines.Cells]] = {}
    for label in set(labels.values()):
        try:
            lines[label], wrong = yolo_lines.cells(folder.text(label))
        except Unreadable as error:
            reading.problems.append(str(error))
            continue
        reading.problems += [f"{folder.shown(label)}: {text}" for text in wrong]
    meaning = yolo_lines.meaning([one for ones in lines.values() for one in ones], _task(said), _keypoints(said))
    boxes = {
        label: _boxes(folder, label, ones, meaning, configuration, names, reading) for label, ones in lines.items()
    }
    reading.problems.sort()
    _doubts(folder, lines, meaning, reading)
    known = own_attributes(folder)
    for picture in folder.pictures:
        split = splits.of(picture, folder.root)
        if split is None:
            reading.counts["pictures that no list names left out"] += 1
        elif picture in labels:
            mine = boxes.get(labels[picture], ())
            reading.found.append(FoundCase(picture, split, mine, (1, 1), known.get(picture, {})))
        else:
            reading.found.append(FoundCase(picture, split))
    reading.problems += splits.problems
    reading.notes += [*meaning.notes, *splits.notes]
    return reading


def _boxes(
    folder: Folder,
    label: Path,
    lines: Sequence[yolo_lines.Cells],
    meaning: yolo_lines.Meaning,
    configuration: Configuration,
    names: Names,
    reading: Reading,
) -> tuple[LabelBox, ...]:
    """A label file's boxes, as shares. What is wrong with it goes into `reading.problems`."""
    found, unknown = [], set()
    for one in lines:
        count = len(one.numbers)
        if count in meaning.wrong:
            reading.problems.append(f"{folder.shown(label)}: line {one.at}: {meaning.wrong[count]}")
            continue
        line = meaning.readings[count](one.numbers)
        reading.counts["outlines became the boxes around them"] += line.polygon
        if line.number not in configuration.numbers:
            unknown.add(line.number)
        elif (name := names.match(configuration.numbers[line.number])) is not None:
            found.append(LabelBox(name, line.box))
    shown, source = folder.shown(label), configuration.source.name
    reading.problems += [f"{shown}: class number {n} is not in {source}" for n in sorted(unknown)]
    return tuple(found)


def _doubts(
    folder: Folder,
    lines: Mapping[Path, Sequence[yolo_lines.Cells]],
    meaning: yolo_lines.Meaning,
    reading: Reading,
) -> None:
    for count, text in meaning.unsure.items():
        files = sorted(folder.shown(label) for label, ones in lines.items() if count in {len(o.numbers) for o in ones})
        more = f" and {len(files) - 10} more" if len(files) > 10 else ""
        reading.notes.append(f"{text} (`task: segment` in data.yaml says so): {', '.join(files[:10])}{more}")


def _task(said: Mapping[str, object]) -> str:
    task = str(said.get("task", "")).strip().lower()
    return task if task in yolo_lines.TASKS else "pose" if "kpt_shape" in said else ""


def _keypoints(said: Mapping[str, object]) -> tuple[int, int] | None:
    shape = said.get("kpt_shape")
    if not isinstance(shape, list) or not all(isinstance(one, str) and one.strip().isdigit() for one in shape):
        return None
    numbers = [int(one) for one in shape]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else None


def _labels(folder: Folder, source: Path, reading: Reading) -> dict[Path, Path]:
    """Picture -> its label file. Label files without a picture become problems."""
    free = {
        path: path.relative_to(folder.root).with_suffix("").as_posix()
        for path in folder.with_suffix(".txt")
        if path != source and path.name.lower() not in _NO_LABELS
    }
    found: dict[Path, Path] = {}
    shared: Counter[Path] = Counter()
    for spelling in SPELLINGS:
        index: dict[str, list[Path]] = {}
        for path, stem in free.items():
            index.setdefault(spelling(stem), []).append(path)
        for picture in (*folder.pictures, *folder.untaken):
            if picture not in found and picture not in shared:
                hits = next(
                    (index[key] for place in _places(picture, folder.root) if (key := spelling(place)) in index), []
                )
                if len(hits) == 1:
                    if hits[0] in free:
                        found[picture] = hits[0]
                        del free[hits[0]]
                    else:
                        shared[picture] += 1
    if shared:
        some = ", ".join(folder.shown(picture) for picture in sorted(shared)[:3])
        reading.notes.append(
            f"{len(shared)} pictures share their name with a labelled one, and count as unlabelled: {some}"
        )
    strays = [path for path in free if _is_label(folder, path)]
    reading.problems += [f"{folder.shown(path)}: a label without its picture" for path in sorted(strays)]
    untaken = [picture for picture in folder.untaken if found.pop(picture, None)]
    reading.counts[UNTAKEN_LABELS] += len(untaken)
    return found


def _places(picture: Path, root: Path) -> list[str]:
    """Where its label may be, without ending: in `labels` for the last `images` of its path, beside it, in `labels`
    beside it or at the top."""
    parts = picture.relative_to(root).with_suffix("").parts
    found = [PurePosixPath(*parts), PurePosixPath(*parts[:-1], "labels", parts[-1]), PurePosixPath("labels", *parts)]
    for at in range(len(parts) - 2, -1, -1):
        if parts[at].lower() == "images":
            found.insert(0, PurePosixPath(*parts[:at], "labels", *parts[at + 1 :]))
            break
    return [path.as_posix() for path in found]


def _is_label(folder: Folder, path: Path) -> bool:
    """A text file of lines of numbers, or an empty one where labels lie; not a README or a list of names or numbers."""
    head = path.read_bytes()[:400].decode("utf-8", "replace").lstrip("\ufeff").strip()
    if not head:
        return "labels" in (part.lower() for part in path.relative_to(folder.root).parts[:-1])
    cells = head.split("\n", 1)[0].split()
    return len(cells) > 1 and all(re.fullmatch(r"[-+.\deE]+", cell) for cell in cells)
