"""What readers of other people's data share: pictures of a folder, their splits, classes matched by name, tables."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from registry.vision.picture import EXTENSIONS
from registry.vision.table import TABLE
from registry.vision.yolo_labels import TrueBox

_SPLIT = re.compile(r"(train|training|val|valid|validation|test|testing)[_-]?\d{0,4}", re.IGNORECASE)
_UNFIT = re.compile(r'[\\/:*?"<>|\x00-\x1f\x7f]+')  # in the name of a folder, on one system or another
_PATH = ("path", "file", "filename", "file_name", "image", "image_path", "image_name", "picture", "photo", "img")
_SPLIT_COLUMNS = ("split", "set", "subset", "fold", "partition")
UNTAKEN = (".heic", ".heif", ".avif", ".jfif", ".jp2", ".ppm", ".pgm", ".psd", ".svg", ".raw", ".dng", ".cr2", ".nef")
MOST_VALUES = 12
"""Columns of a table with more values than this are no attributes: slices of a handful of cases say nothing."""


@dataclass(frozen=True)
class Found:
    """A picture of the source, and what the source says of it.

    Attributes:
        path: the picture.
        split: `train`, `val`, or "" where the source does not say.
        label: class, boxes, or None without a label.
        size: width and height that the boxes refer to; (1, 1) for shares of the upright picture; None if not said.
    """

    path: Path
    split: str = ""
    label: str | tuple[TrueBox, ...] | None = None
    size: tuple[float, float] | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Reading:
    """What a reader makes of a source: `layout` names the format, `problems` stop the import, `notes` are told."""

    layout: str
    found: list[Found] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Folder:
    """The files at or below a folder, without hidden ones and what Windows and macOS leave behind."""

    def __init__(self, root: Path) -> None:
        self.root = root
        every = sorted(path for path in root.rglob("*") if path.is_file())
        self.files = [path for path in every if not any(_hidden(part) for part in path.relative_to(root).parts)]
        self.pictures = [path for path in self.files if path.suffix.lower() in EXTENSIONS]
        self._by_name: dict[str, list[Path]] = {}
        for path in self.pictures:
            for key in {path.name, path.stem}:
                self._by_name.setdefault(key, []).append(path)

    def untaken(self) -> Counter[str]:
        """Pictures of kinds that are not taken, by their ending."""
        return Counter(path.suffix.lower() for path in self.files if path.suffix.lower() in UNTAKEN)

    def ending(self, *suffixes: str) -> list[Path]:
        return [path for path in self.files if path.suffix.lower() in suffixes]

    def shown(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def picture(self, name: str, near: Path) -> Path | None:
        """The picture that a label file in the folder `near` calls `name`: a path from there, from its parent or from
        the source's top; or else the only picture of that file name (with or without its ending)."""
        clean = name.replace("\\", "/").strip()
        for base in (near, near.parent, self.root):
            path = base / clean
            if clean and path.is_file() and path.resolve().is_relative_to(self.root.resolve()):
                return self.root / path.resolve().relative_to(self.root.resolve())
        found = self._by_name.get(clean.rsplit("/", 1)[-1], [])
        ends = [path for path in found if path.as_posix().endswith("/" + clean.lstrip("./"))]
        choice = ends if len(ends) == 1 else found
        return choice[0] if len(choice) == 1 else None


def _hidden(part: str) -> bool:
    return part.startswith(".") or part in ("__MACOSX", "Thumbs.db", "desktop.ini")


def split_named(text: str) -> str:
    """`train`, `val` or "" for a folder's name, a file's stem or a table's cell; a test part is held out, too."""
    match = _SPLIT.fullmatch(text.strip())
    return "" if match is None else "train" if match[1].lower().startswith("train") else "val"


def split_of(path: Path, root: Path) -> str:
    """From the names of the folders above, the topmost that is one."""
    return next(filter(None, (split_named(part) for part in path.relative_to(root).parts[:-1])), "")


def plain(name: str) -> str:
    """`Yellow Vest`, `yellow-vest` and `yellow_vest` are one name."""
    return re.sub(r"[\W_]+", "", name.casefold())


class Names:
    """The model's classes, found by other people's names for them.

    Args:
        classes: the model's; None: every name is a class.
        renamed: the source's names -> the model's classes, where they differ by more than case and separators.
    """

    def __init__(self, classes: Sequence[str] | None, renamed: Mapping[str, str]) -> None:
        self._open = classes is None
        self._known = {plain(name): name for name in classes or ()}
        self._renamed = {plain(name): target for name, target in renamed.items()}
        self.dropped: Counter[str] = Counter()

    def match(self, name: str) -> str | None:
        """The model's class of that name; None (and counted) if it has none."""
        name = str(name).strip()
        target = self._renamed.get(plain(name), name)
        found = _UNFIT.sub("-", target).strip(". ") if self._open else self._known.get(plain(target))
        if not found:
            self.dropped[name] += 1
        return found or None

    def knows(self, name: str) -> bool:
        return not self._open and plain(self._renamed.get(plain(name), name)) in self._known


@dataclass(frozen=True)
class Table:
    """A csv with a column of pictures. `lines` keep their cells by column name, stripped."""

    path: Path
    columns: tuple[str, ...]
    lines: tuple[Mapping[str, str], ...]
    picture: str
    split: str

    @property
    def label(self) -> str:
        """The column that is called label, class or the like; "" if there is none."""
        return _first(self.columns, ("label", "class", "class_name", "category", "name", "target"))


def tables(folder: Folder) -> list[Table]:
    """The csv files (or tsv) that name pictures. Raises nothing: another csv is none of ours."""
    found = []
    for path in folder.ending(".csv", ".tsv"):
        try:
            text = path.read_text(encoding="utf-8-sig")
            head = text.split("\n", 1)[0]
            reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count))
            lines = [{str(k): str(v or "").strip() for k, v in line.items() if k is not None} for line in reader]
            columns = tuple(str(name).strip() for name in reader.fieldnames or ())
        except (UnicodeDecodeError, csv.Error):
            continue
        if (picture := _first(columns, _PATH)) and lines:
            stripped = tuple({k.strip(): v for k, v in line.items()} for line in lines)
            found.append(Table(path, columns, stripped, picture, _split_column(columns, stripped)))
    return found


def _first(columns: Iterable[str], names: Sequence[str]) -> str:
    by_name = {column.casefold(): column for column in columns}
    return next((by_name[name] for name in names if name in by_name), "")


def _split_column(columns: Sequence[str], lines: Sequence[Mapping[str, str]]) -> str:
    column = _first(columns, _SPLIT_COLUMNS)
    return column if column and any(split_named(line[column]) for line in lines) else ""


def label_column(table: Table, names: Names) -> str:
    """The column called label or the like; else the only one whose every value is one of the model's classes."""
    if table.label:
        return table.label
    free = [name for name in table.columns if name and name not in (table.picture, table.split)]
    values = {name: {line[name] for line in table.lines} - {""} for name in free}
    fitting = [name for name, said in values.items() if said and all(map(names.knows, said))]
    return fitting[0] if len(fitting) == 1 else ""


def attributes(table: Table, used: set[str], reading: Reading) -> list[dict[str, str]]:
    """Per line: the columns that are nothing else and have two values or some more; notes name those with many."""
    values = {name: len({line[name] for line in table.lines}) for name in table.columns if name and name not in used}
    many = [name for name, count in values.items() if count > MOST_VALUES]
    if many:
        reading.notes.append(
            f"columns of {table.path.name} with more than {MOST_VALUES} values are no attributes: {', '.join(many)}"
        )
    kept = [name for name, count in values.items() if 1 < count <= MOST_VALUES]
    return [{name: line[name] for name in kept if line[name]} for line in table.lines]


def own_attributes(folder: Folder) -> dict[Path, Mapping[str, str]]:
    """Of a data set of ours: picture -> attributes, from its `cases.csv`."""
    found: dict[Path, Mapping[str, str]] = {}
    for table in tables(folder):
        if table.path.name == TABLE and "case" in table.columns:
            extra = attributes(table, {"case", "origin", table.picture, table.split}, Reading(""))
            for line, more in zip(table.lines, extra, strict=True):
                found[table.path.parent / line[table.picture]] = more
    return found
