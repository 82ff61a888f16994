"""Pictures with one class each, as other people keep them: class folders, or a table of paths and labels."""

from __future__ import annotations

from pathlib import Path

from registry.vision.sources import (
    Folder,
    Found,
    Names,
    Reading,
    Table,
    attributes,
    label_column,
    own_attributes,
    split_named,
    split_of,
    tables,
)  # fmt: skip

LAYOUTS = (
    "<split>/<class>/*.jpg or <class>/*.jpg (Fruits-360: Training/, Test/); a csv with columns path, label "
    "and, if there is one, split; other columns are attributes"
)
_NO_CLASS = {"images", "image", "imgs", "img", "pictures", "photos", "data", "unlabelled", "unlabeled"}


def read(folder: Folder, names: Names) -> Reading:
    """A table of paths and labels if there is one, else class folders."""
    for table in tables(folder):
        if column := label_column(table, names):
            return _from_table(folder, table, column, names)
    return _from_folders(folder, names)


def _from_table(folder: Folder, table: Table, column: str, names: Names) -> Reading:
    reading = Reading(f"{folder.shown(table.path)}: path {table.picture!r}, label {column!r}")
    extra = attributes(table, {table.picture, table.split, column}, reading)
    seen: dict[Path, str] = {}
    for number, (line, more) in enumerate(zip(table.lines, extra, strict=True), start=2):
        where = f"{table.path.name}, line {number}"
        path = folder.picture(line[table.picture], table.path.parent)
        if path is None:
            reading.problems.append(f"{where}: there is no picture {line[table.picture]!r}")
        elif seen.get(path, line[column]) != line[column]:
            reading.problems.append(f"{where}: {folder.shown(path)} is {line[column]!r} here, {seen[path]!r} before")
        elif path not in seen:
            seen[path] = line[column]
            split = split_named(line[table.split]) if table.split else split_of(path, folder.root)
            if not line[column]:
                reading.found.append(Found(path, split, None, attributes=more))
            elif (name := names.match(line[column])) is not None:
                reading.found.append(Found(path, split, name, attributes=more))
    others = len(folder.pictures) - len(seen)
    reading.notes += [f"{others} pictures that {table.path.name} does not name are left out"] if others else []
    return reading


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
            reading.found.append(Found(path, split))
        elif (match := names.match(name)) is not None:
            reading.found.append(Found(path, split if not bare else "", match, attributes=known.get(path, {})))
    return reading


def _split_above(above: tuple[str, ...]) -> bool:
    return any(split_named(part) for part in above[:-1])
