"""Reads which split a picture is in from lists of pictures and from the folders in a configuration file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from registry.cases.splits import split_from_folders, split_from_name
from registry.formats.source_folder import SourceFolder, collect_unreadable, first_few

_KEYS = (("train", "train"), ("val", "val"), ("valid", "val"), ("validation", "val"), ("test", "test"))
_PRECEDENCE = {"train": 0, "test": 1, "val": 2}
"""A picture in two lists is in the split of the higher precedence. One that chose an epoch must not test or train."""

_NUMBERS = re.compile(r"[-+.\deE]+(\s+[-+.\deE]+){4,}")
_EMPTY_VALUES = ("", "~", "null", "none")


@dataclass
class SourceSplits:
    """The splits that a source's files name.

    Attributes:
        listed: picture -> split.
        folders: (folder, split); the innermost folder that holds a picture counts.
        complete: the lists are the whole data set: pictures in none of them are left out.
        notes, problems: as in `ReadResult`.
    """

    listed: dict[Path, str] = field(default_factory=dict)
    folders: list[tuple[Path, str]] = field(default_factory=list)
    complete: bool = False
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def split_of(self, picture: Path, root: Path) -> str | None:
        """The picture's split; "" if nothing names one; None if the picture is left out."""
        if picture in self.listed:
            return self.listed[picture]
        around = [(len(folder.parts), split) for folder, split in self.folders if picture.is_relative_to(folder)]
        if around:
            return max(around)[1]
        return None if self.complete else split_from_folders(picture, root)

    def add_list(self, folder: SourceFolder, path: Path, split: str) -> None:
        """Adds the pictures that a list names: by any path, by file name, or by name without extension."""
        near, text = path.parent, ""
        with collect_unreadable(self.problems):
            text = folder.text(path, folder.count_names(near))
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        missing, moved = [], 0
        for line in lines:
            first = line.split()[0]
            if first != line and _NUMBERS.fullmatch(line):
                continue  # a label
            picture = folder.find(line, near) or folder.find(first, near)
            if picture is None:
                missing.append(line)
            elif folder.is_supported(picture):
                before = self.listed.get(picture, split)
                moved += before != split
                self.listed[picture] = max(before, split, key=_PRECEDENCE.__getitem__)
        name = folder.relative(path)
        if missing:
            some = first_few(missing, 3)
            self.notes.append(f"{name}: {len(missing)} of its {len(lines)} pictures do not exist: {some}")
        if moved:
            self.notes.append(f"{name}: {moved} of its pictures are also in another list; they are not trained on")

    def add_known_lists(self, folder: SourceFolder) -> None:
        """Adds VOC's `ImageSets/Main/train.txt`, or else any `train.txt`, `val.txt`, ..."""
        lists = [(path, split) for path in folder.with_suffix(".txt") if (split := split_from_name(path.stem))]
        above = {path: [part.lower() for part in path.relative_to(folder.root).parts[:-1]] for path, _ in lists}
        sets = [(path, split) for path, split in lists if "imagesets" in above[path]]
        main, direct = ([one for one in sets if above[one[0]][-1] == name] for name in ("main", "imagesets"))
        for path, split in main or direct or sets or lists:
            notes, listed = len(self.notes), len(self.listed)
            self.add_list(folder, path, split)
            if not sets and len(self.listed) == listed:
                del self.notes[notes:]  # a text of that name that is not a list


def from_config(folder: SourceFolder, source: Path, options: Mapping[str, object]) -> SourceSplits:
    """The splits of a data.yaml, or of darknet's and CVAT's `obj.data`: folders, lists, or several of them. Without
    any, those of known lists."""
    splits = SourceSplits()
    top = "/".join(p for p in str(options.get("path") or "").replace("\\", "/").split("/") if p not in ("", ".", ".."))
    bases = (source.parent / top, source.parent, folder.root)
    lists: list[tuple[Path, str]] = []
    for key, split in _KEYS:
        for value in _values(options.get(key)):
            place = folder.resolve(value, bases)
            if place is None:
                splits.notes.append(f"{source.name}: its {key} part {value} does not exist")
            elif place not in (folder.root, source.parent):
                (lists if place.suffix.lower() == ".txt" else splits.folders).append((place, split))
    shared = {place for place, number in Counter(place for place, _ in set(splits.folders)).items() if number > 1}
    if shared:
        names = ", ".join(folder.relative(place) for place in sorted(shared))
        splits.notes.append(f"{source.name} names {names} for several splits: ignored")
    splits.folders = [(place, split) for place, split in splits.folders if place not in shared]
    for path, split in lists:
        splits.add_list(folder, path, split)
    if lists and not splits.listed:
        names = ", ".join(folder.relative(path) for path, _ in lists)
        splits.problems.append(f"{names}: none of the listed pictures exists")
    splits.complete = bool(splits.listed) and not splits.folders
    if not (splits.listed or splits.folders or splits.problems):
        splits.add_known_lists(folder)
    return splits


def _values(value: object) -> Sequence[str]:
    values = value if isinstance(value, list) else [value]
    return [text for text in values if isinstance(text, str) and text.strip().lower() not in _EMPTY_VALUES]
