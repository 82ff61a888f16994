"""Pictures with one class each, as other people keep them: class folders, or a table of paths and labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from registry.formats.csv_tables import Table, attributes, label_column, own_attributes, picture_of, same_kind, tables
from registry.formats.source_folder import Folder
from registry.formats.sources import FoundCase, Names, Reading, split_named, split_of

LAYOUTS = (
    "<split>/<class>/*.jpg or <class>/*.jpg (Fruits-360: Training/, Test/); a csv with columns path, label "
    "and, if there is one, split; other columns are attributes"
)
_NO_CLASS = {"images", "image", "imgs", "img", "pictures", "photos", "data", "unlabelled", "unlabeled"}


def read(folder: Folder, names: Names) -> Reading:
    """A table of paths and labels if there is one (or `train.csv` and `test.csv`), else class folders."""
    taken, notes = same_kind(tables(folder), lambda table: label_column(table, names), "labels")
    return _from_tables(folder, taken, names, notes) if taken else _from_folders(folder, names)


def _from_tables(folder: Folder, tables: Sequence[Table], names: Names, notes: list[str]) -> Reading:
    column = label_column(tables[0], names)
    shown = ", ".join(folder.shown(table.path) for table in tables)
    reading = Reading(f"{shown}: path {tables[0].picture!r}, label {column!r}", notes=notes)
    seen: dict[Path, tuple[str, str]] = {}
    for table in tables:
        _take_lines(folder, table, column, names, reading, seen)
    others = len(folder.pictures) - len(seen)
    reading.notes += [f"{others} pictures that {shown} does not name are left out"] if others else []
    return reading


def _take_lines(
    folder: Folder, table: Table, column: str, names: Names, reading: Reading, seen: dict[Path, tuple[str, str]]
) -> None:
    """Adds a table's pictures to `reading`; `seen`: label and split of each, so far."""
    extra = attributes(table, {table.picture, table.split, column}, reading)
    for number, (line, more) in enumerate(zip(table.lines, extra, strict=True), start=2):
        where, label = f"{table.path.name}, line {number}", line[column]
        path = picture_of(folder, table, line, where, reading)
        if path is None:
            continue
        said = (label, table.split_of(line) or split_of(path, folder.root))
        if path not in seen:
            seen[path] = said
            if not label:
                reading.found.append(FoundCase(path, said[1], None, attributes=more))
            elif (name := names.match(label)) is not None:
                reading.found.append(FoundCase(path, said[1], name, attributes=more))
        elif seen[path] != said:
            what = 0 if seen[path][0] != label else 1
            reading.problems.append(
                f"{where}: {folder.shown(path)} is {said[what]!r} here, {seen[path][what]!r} before"
            )


def _from_folders(folder: Folder, names: Names) -> Reading:
    reading = Reading("class folders")
    known = own_attributes(folder)
    for path in folder.pictures:
        above = path.relative_to(folder.root).parts[:-1]
        name = above[-1] if above else ""
        # A split's folder is no class, but for one inside another: `train/train/` holds trains.
        bare = not name or name.lower() in _NO_CLASS or (split_named(name) and not _split_above(above))
        split = next(filter(None, map(split_named, above)), "")
        if bare and not (name and names.knows(name)):
            reading.found.append(FoundCase(path, split))
        elif (match := names.match(name)) is not None:
            reading.found.append(FoundCase(path, split if not bare else "", match, attributes=known.get(path, {})))
    return reading


def _split_above(above: tuple[str, ...]) -> bool:
    return any(split_named(part) for part in above[:-1])
