"""Pictures with one class each: class folders, or a table of paths and labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from registry.cases.splits import split_from_name
from registry.formats.csv_tables import Table, label_column, own_attributes, picture_rows, same_kind, tables
from registry.formats.source_folder import SourceFolder
from registry.formats.sources import ClassMatcher, ReadResult, SourceCase

LAYOUTS = (
    "<split>/<class>/*.jpg or <class>/*.jpg (Fruits-360: Training/, Test/); a csv with columns path, label "
    "and, if there is one, split; other columns are attributes"
)
_NOT_CLASSES = {"images", "image", "imgs", "img", "pictures", "photos", "data", "unlabelled", "unlabeled"}


def read(folder: SourceFolder, matcher: ClassMatcher) -> ReadResult:
    """Reads a table of paths and labels if there is one (or `train.csv` and `test.csv`), else class folders."""
    taken, notes = same_kind(tables(folder), lambda table: label_column(table, matcher), "labels")
    return _read_tables(folder, taken, matcher, notes) if taken else _read_folders(folder, matcher)


def _read_tables(folder: SourceFolder, taken: Sequence[Table], matcher: ClassMatcher, notes: list[str]) -> ReadResult:
    column = label_column(taken[0], matcher)
    names = ", ".join(folder.relative(table.path) for table in taken)
    result = ReadResult(f"{names}: path {taken[0].picture!r}, label {column!r}", notes=notes)
    seen: dict[Path, tuple[str, str]] = {}
    for table in taken:
        for row in picture_rows(folder, table, [column], result):
            label, split = row.cells[column], row.split
            if row.picture in seen:
                for here, before in zip((label, split), seen[row.picture], strict=True):
                    if here != before:
                        picture = folder.relative(row.picture)
                        result.problems.append(f"{row.where}: {picture} is {here!r} here, {before!r} before")
                continue
            seen[row.picture] = (label, split)
            name = matcher.match(label) if label else None
            if name is not None or not label:
                result.cases.append(SourceCase(row.picture, split, name, attributes=row.attributes))
    others = len(folder.pictures) - len(seen)
    result.notes += [f"{others} pictures that {names} does not name are left out"] if others else []
    return result


def _read_folders(folder: SourceFolder, matcher: ClassMatcher) -> ReadResult:
    result = ReadResult("class folders")
    known = own_attributes(folder)
    for path in folder.pictures:
        above = path.relative_to(folder.root).parts[:-1]
        name = above[-1] if above else ""
        splits = [split_from_name(part) for part in above]
        # A folder named like a split is a class only inside another split: `train/train/` holds trains.
        unlabelled = not name or name.lower() in _NOT_CLASSES or (splits[-1] and not any(splits[:-1]))
        split = next(filter(None, splits), "")
        if unlabelled and not (name and matcher.is_known(name)):
            result.cases.append(SourceCase(path, split))
        elif (match := matcher.match(name)) is not None:
            attributes = known.get(path, {})
            result.cases.append(SourceCase(path, "" if unlabelled else split, match, attributes=attributes))
    return result
