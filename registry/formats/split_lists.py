"""Which split a picture is in where files say so: lists of pictures or of their names, folders in a configuration."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from registry.formats.source_folder import Folder, Unreadable, folder_or_list
from registry.formats.sources import split_named, split_of

_KEYS = (("train", "train"), ("val", "val"), ("valid", "val"), ("validation", "val"), ("test", "test"))
_STRICTER = {"train": 0, "test": 1, "val": 2}
"""Of two splits that a picture is listed in the higher one counts: what chose an epoch is no test, and no teacher."""

_NUMBERS = re.compile(r"[-+.\deE]+(\s+[-+.\deE]+){4,}")
_NOTHING = ("", "~", "null", "none")


@dataclass
class Splits:
    """What a source's files say of its splits.

    Attributes:
        listed: picture -> split.
        folders: (folder, split), the innermost that holds a picture counts.
        whole: the lists are the data set: a picture that none of them names does not belong to it.
        notes, problems: as `Reading`.
    """

    listed: dict[Path, str] = field(default_factory=dict)
    folders: list[tuple[Path, str]] = field(default_factory=list)
    whole: bool = False
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def of(self, picture: Path, root: Path) -> str | None:
        """Its split, "" where nothing says one; None if it is to be left out."""
        if picture in self.listed:
            return self.listed[picture]
        around = [(len(at.parts), split) for at, split in self.folders if picture.is_relative_to(at)]
        if around:
            return max(around)[1]
        return None if self.whole else split_of(picture, root)

    def add_list(self, folder: Folder, path: Path, split: str) -> None:
        """The pictures that a list names: paths from anywhere, file names, or names without their ending."""
        try:
            text = folder.text(path, folder.witness(path.parent))
        except Unreadable as error:
            self.problems.append(str(error))
            return
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        missing, moved = [], 0
        for line in lines:
            first = line.split()[0]
            if first != line and _NUMBERS.fullmatch(line):
                continue  # a label
            picture = folder.picture(line, path.parent) or folder.picture(first, path.parent)
            if picture is not None:
                before = self.listed.get(picture, split)
                moved += before != split
                self.listed[picture] = max(before, split, key=_STRICTER.__getitem__)
            elif not folder.is_untaken(line, path.parent):
                missing.append(line)
        shown = folder.shown(path)
        if missing:
            some = ", ".join(missing[:3])
            self.notes.append(f"{shown}: {len(missing)} of its {len(lines)} pictures are not there: {some}")
        if moved:
            self.notes.append(f"{shown}: {moved} of its pictures are in another list, too, and are not trained on")


def configured(folder: Folder, source: Path, body: Mapping[str, object]) -> Splits:
    """The splits of a data.yaml, or of darknet's and CVAT's `obj.data`: folders, lists, or several of them."""
    splits = Splits()
    top = _inner(str(body.get("path") or ""))
    bases = (source.parent / top, source.parent, folder.root)
    lists = []
    for key, split in _KEYS:
        for value in _values(body.get(key)):
            place = folder_or_list(folder, value, bases)
            if place is None:
                splits.notes.append(f"{source.name}: its {key} part {value} is not there")
            elif place in (folder.root, source.parent):
                continue
            elif place.suffix.lower() == ".txt":
                lists.append((place, split))
            else:
                splits.folders.append((place, split))
    twice = {at for at, number in Counter(at for at, _ in set(splits.folders)).items() if number > 1}
    if twice:
        names = ", ".join(folder.shown(at) for at in sorted(twice))
        splits.notes.append(f"{source.name} names {names} for several splits, which says none")
    splits.folders = [(at, split) for at, split in splits.folders if at not in twice]
    for path, split in lists:
        splits.add_list(folder, path, split)
    if lists and not splits.listed:
        names = ", ".join(folder.shown(path) for path, _ in lists)
        splits.problems.append(f"{names}: none of the pictures listed is there")
    splits.whole = bool(splits.listed) and not splits.folders
    return splits


def listed(folder: Folder) -> Splits:
    """The splits of lists that lie there: VOC's `ImageSets/Main/train.txt`, else any `train.txt`, `val.txt`, ..."""
    splits = Splits()
    texts = [(path, split) for path in folder.with_suffix(".txt") if (split := split_named(path.stem))]
    sets = [(path, split) for path, split in texts if "imagesets" in _above(folder, path)]
    main = [(path, split) for path, split in sets if _above(folder, path)[-1] == "main"]
    direct = [(path, split) for path, split in sets if _above(folder, path)[-1] == "imagesets"]
    for path, split in main or direct or sets or texts:
        before = len(splits.notes), len(splits.listed)
        splits.add_list(folder, path, split)
        if path not in dict(sets) and len(splits.listed) == before[1]:
            del splits.notes[before[0] :]  # a text of that name, and no list
    return splits


def _above(folder: Folder, path: Path) -> tuple[str, ...]:
    return tuple(part.lower() for part in path.relative_to(folder.root).parts[:-1])


def _values(value: object) -> Sequence[str]:
    values = value if isinstance(value, list) else [value]
    return [str(one) for one in values if isinstance(one, str) and one.strip().lower() not in _NOTHING]


def _inner(path: str) -> str:
    return "/".join(part for part in path.replace("\\", "/").split("/") if part not in ("", ".", ".."))
