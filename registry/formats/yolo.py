"""YOLO: a text file of numbers for each picture, classes in a data.yaml, `classes.txt` or `obj.names`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import yaml

from registry.cases.yolo_labels import LabelBox, parse_lines
from registry.formats import split_lists, yolo_lines
from registry.formats.csv_tables import own_attributes
from registry.formats.source_folder import NAME_FORMS, SourceFolder, Unreadable, collect_unreadable, first_few
from registry.formats.sources import UNSUPPORTED_LABELS, ClassMatcher, ReadResult, SourceCase
from registry.formats.yolo_lines import Interpretation, NumberedLine

MAX_YAML_BYTES = 4_000_000
_NAMES_FILES = ("classes.txt", "obj.names", "names.txt", "predefined_classes.txt")
_NOT_LABELS = (*_NAMES_FILES, "notes.txt")


@dataclass(frozen=True)
class YoloConfig:
    """The file that numbers the classes.

    Attributes:
        classes: number -> name.
        options: what else a data.yaml, or darknet's `.data`, holds.
    """

    path: Path
    classes: Mapping[int, str]
    options: Mapping[str, object] = field(default_factory=dict)


def configs_from_yaml(folder: SourceFolder, matcher: ClassMatcher) -> list[YoloConfig]:
    """The yaml files with `names`, in order. Of those that number the classes alike, the first."""
    found: list[YoloConfig] = []
    for path in folder.with_suffix(".yaml", ".yml"):
        with collect_unreadable(folder.unread):
            config = _read_yaml(folder, path, matcher)
            if config is not None and all(config.classes != other.classes for other in found):
                found.append(config)
    return found


def config_from_list(folder: SourceFolder, matcher: ClassMatcher) -> YoloConfig | None:
    """The list of names of darknet or LabelImg, with the options of a `.data` file."""
    options, lists = _read_darknet(folder)
    for path in [*lists, *(path for path in folder.files if path.name.lower() in _NAMES_FILES)]:
        if folder.with_suffix(".txt") != [path]:
            with collect_unreadable(folder.unread):
                lines = folder.text(path, matcher.count_names).rstrip().splitlines()
                return YoloConfig(path, {n: line.strip() for n, line in enumerate(lines) if line.strip()}, options)
    return None


def _read_yaml(folder: SourceFolder, path: Path, matcher: ClassMatcher) -> YoloConfig | None:
    name = folder.relative(path)
    if path.stat().st_size > MAX_YAML_BYTES:
        raise Unreadable(f"{name} is larger than {MAX_YAML_BYTES / 1e6:g} MB")
    text = folder.text(path, matcher.count_names)
    try:
        content = yaml.load(text, Loader=yaml.BaseLoader)  # all text: a class may be called "no" or "012"
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise Unreadable(f"{name} is not YAML: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(content, dict) or "names" not in content:
        if isinstance(content, dict) and {"nc", "train"} & set(content):
            raise Unreadable(f"{name} has no `names`: the classes, in the order of their numbers")
        return None
    entries = content["names"]
    if isinstance(entries, str) and (place := folder.resolve(entries, (path.parent, folder.root))):
        entries = [line.strip() for line in folder.text(place, matcher.count_names).splitlines()]
    pairs = entries.items() if isinstance(entries, dict) else enumerate(entries) if isinstance(entries, list) else ()
    classes = {n: called for n, called in pairs if isinstance(called, str)}
    if not classes or len(classes) < len(entries) or not all(re.fullmatch(r"\s*\d{1,9}\s*", str(n)) for n in classes):
        raise Unreadable(f"{name}: `names` is not a list of names, or of numbers with their names")
    return YoloConfig(path, {int(n): called for n, called in classes.items()}, content)


def _read_darknet(folder: SourceFolder) -> tuple[dict[str, object], list[Path]]:
    """The options of darknet's and CVAT's `obj.data` (`train = data/train.txt`), and the list of names it refers to."""
    for path in folder.with_suffix(".data"):
        with collect_unreadable(folder.unread):
            options: dict[str, object] = dict(re.findall(r"^\s*(\w+)\s*=\s*(.*?)\s*$", folder.text(path), re.MULTILINE))
            if "names" in options:
                options["path"] = path.parent.relative_to(folder.root).as_posix()
                place = folder.resolve(str(options["names"]), (path.parent, folder.root))
                return options, [place] if place else []
    return {}, []


def read(folder: SourceFolder, config: YoloConfig, matcher: ClassMatcher) -> ReadResult:
    """Every picture with the boxes of its label file."""
    names = [config.classes[number] for number in sorted(config.classes)]
    result = ReadResult(f"YOLO, {folder.relative(config.path)}", classes=names)
    splits = split_lists.from_config(folder, config.path, config.options)
    labels = _match_labels(folder, config.path, result)
    lines: dict[Path, list[NumberedLine]] = {}
    for label in set(labels.values()):
        with collect_unreadable(result.problems):
            lines[label], wrong = parse_lines(folder.text(label), NumberedLine)
            result.problems += [f"{folder.relative(label)}: {text}" for text in wrong]
    every = [line for mine in lines.values() for line in mine]
    interpretation = yolo_lines.interpret(every, _task(config.options), _keypoint_shape(config.options))
    boxes = {
        label: _boxes(folder.relative(label), mine, interpretation, config, matcher, result)
        for label, mine in lines.items()
    }
    result.problems.sort()
    for count, text in interpretation.ambiguous.items():
        files = [label for label, mine in lines.items() if any(len(line.numbers) == count for line in mine)]
        listed = first_few(sorted(map(folder.relative, files)), 10)
        result.notes.append(f"{text} (`task: segment` in data.yaml settles it): {listed}")
    attributes = own_attributes(folder)
    for picture in folder.pictures:
        split = splits.split_of(picture, folder.root)
        if split is None:
            result.counts["pictures left out: no list names them"] += 1
        elif picture in labels:
            mine_boxes = boxes.get(labels[picture], ())
            result.cases.append(SourceCase(picture, split, mine_boxes, (1, 1), attributes.get(picture, {})))
        else:
            result.cases.append(SourceCase(picture, split))
    result.problems += splits.problems
    result.notes += [*interpretation.notes, *splits.notes]
    return result


def _boxes(
    name: str,
    lines: Sequence[NumberedLine],
    interpretation: Interpretation,
    config: YoloConfig,
    matcher: ClassMatcher,
    result: ReadResult,
) -> tuple[LabelBox, ...]:
    """The boxes of the label file `name`, normalized. What is wrong with it goes into `result.problems`."""
    found, unknown = [], set()
    for line in lines:
        count = len(line.numbers)
        if count in interpretation.rejected:
            result.problems.append(f"{name}: line {line.at}: {interpretation.rejected[count]}")
            continue
        label = interpretation.converters[count](line.numbers)
        result.counts["outlines became the boxes around them"] += label.polygon
        if label.number not in config.classes:
            unknown.add(label.number)
        elif (class_name := matcher.match(config.classes[label.number])) is not None:
            found.append(LabelBox(class_name, label.box))
    result.problems += [f"{name}: class number {n} is not in {config.path.name}" for n in sorted(unknown)]
    return tuple(found)


def _task(options: Mapping[str, object]) -> str:
    task = str(options.get("task", "")).strip().lower()
    return task if task in yolo_lines.TASKS else "pose" if "kpt_shape" in options else ""


def _keypoint_shape(options: Mapping[str, object]) -> tuple[int, int] | None:
    shape = options.get("kpt_shape")
    if not isinstance(shape, list) or len(shape) != 2 or not all(str(n).strip().isdecimal() for n in shape):
        return None
    return int(shape[0]), int(shape[1])


def _match_labels(folder: SourceFolder, source: Path, result: ReadResult) -> dict[Path, Path]:
    """Picture -> its label file. Label files without a picture become problems."""
    free = {
        path: path.relative_to(folder.root).with_suffix("").as_posix()
        for path in folder.with_suffix(".txt")
        if path != source and path.name.lower() not in _NOT_LABELS
    }
    found: dict[Path, Path] = {}
    shared: set[Path] = set()
    for form in NAME_FORMS:
        index: dict[str, list[Path]] = {}
        for path, stem in free.items():
            index.setdefault(form(stem), []).append(path)
        for picture in (*folder.pictures, *folder.unsupported):
            if picture not in found and picture not in shared:
                keys = (form(place) for place in _label_places(picture, folder.root))
                hits = next((index[key] for key in keys if key in index), [])
                if len(hits) == 1 and free.pop(hits[0], ""):
                    found[picture] = hits[0]
                elif len(hits) == 1:
                    shared.add(picture)
    if shared:
        names = first_few(sorted(map(folder.relative, shared)), 3)
        result.notes.append(
            f"{len(shared)} pictures share their name with a labelled one, and count as unlabelled: {names}"
        )
    strays = sorted(path for path in free if _is_label(folder, path))
    result.problems += [f"{folder.relative(path)}: a label without its picture" for path in strays]
    result.counts[UNSUPPORTED_LABELS] += sum(found.pop(picture, None) is not None for picture in folder.unsupported)
    return found


def _label_places(picture: Path, root: Path) -> list[str]:
    """Where its label may be, without extension: in `labels` for the last `images` of its path, beside it, in `labels`
    beside it or at the top."""
    parts = picture.relative_to(root).with_suffix("").parts
    found = [PurePosixPath(*parts), PurePosixPath(*parts[:-1], "labels", parts[-1]), PurePosixPath("labels", *parts)]
    for at in range(len(parts) - 2, -1, -1):
        if parts[at].lower() == "images":
            found.insert(0, PurePosixPath(*parts[:at], "labels", *parts[at + 1 :]))
            break
    return [path.as_posix() for path in found]


def _is_label(folder: SourceFolder, path: Path) -> bool:
    """Whether a text file holds lines of numbers, or is empty and where labels lie; not a README or a list."""
    head = path.read_bytes()[:400].decode("utf-8", "replace").lstrip("\ufeff").strip()
    if not head:
        return "labels" in (part.lower() for part in path.relative_to(folder.root).parts[:-1])
    cells = head.split("\n", 1)[0].split()
    return len(cells) > 1 and all(re.fullmatch(r"[-+.\deE]+", cell) for cell in cells)
