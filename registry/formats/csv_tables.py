"""Tables of pictures (csv, tsv), as spreadsheets and scripts write them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from registry.cases.table import GROUP, TABLE
from registry.formats.source_folder import Folder, Unreadable
from registry.formats.sources import UNTAKEN_LABELS, Names, Reading, split_in_stem, split_named

_PATH = ("path", "file", "filename", "file_name", "image", "image_path", "image_name", "picture", "photo", "img")
_SPLIT_COLUMNS = ("split", "set", "subset", "fold", "partition")
_DELIMITERS = ",;\t|"
GROUPS = tuple(f"{name}{end}" for name in ("group", "patient", "subject", "sequence", "camera") for end in ("", "_id"))
"""Names of a column that says which pictures stay together; the first that a table has."""

LEAST_GROUPS = 3
"""With fewer values the column is none: each part of a data set wants a group."""

MOST_VALUES = 12
"""Columns of a table with more values than this are no attributes: slices of a handful of cases say nothing."""


@dataclass(frozen=True)
class Table:
    """A csv with a column of pictures. `lines` keep their cells by column name, stripped.

    `part`: the split that the file's own name says, as `val.csv` does; a column `split` goes before it.
    """

    path: Path
    columns: tuple[str, ...]
    lines: tuple[Mapping[str, str], ...]
    picture: str
    split: str
    part: str = ""
    comma: bool = False
    """Numbers are written as 12,5: cells are not parted by commas."""

    @property
    def label(self) -> str:
        """The column that is called label, class or the like; "" if there is none."""
        return _first(self.columns, ("label", "class", "class_name", "category", "name", "target"))

    def split_of(self, line: Mapping[str, str]) -> str:
        """The split that a line, or else the file's name, says; "" for none."""
        return (split_named(line[self.split]) if self.split else "") or self.part

    def numbers(self, line: Mapping[str, str], columns: Iterable[str]) -> list[str]:
        """These cells, with a point in numbers."""
        return [line[name].replace(",", ".") if self.comma else line[name] for name in columns]


def tables(folder: Folder) -> list[Table]:
    """The csv files (or tsv) that name pictures; another csv is none of ours. One that cannot be read is told in
    `folder.unread`."""
    found = []
    for path in folder.with_suffix(".csv", ".tsv"):
        try:
            columns, lines, delimiter = _rows(folder.text(path, folder.witness(path.parent)))
        except Unreadable as error:
            folder.unread.append(str(error))
            continue
        except csv.Error as error:
            folder.unread.append(f"{folder.shown(path)} is not a table that can be read: {error}")
            continue
        if (picture := _first(columns, _PATH)) and lines:
            split = _split_column(columns, lines)
            part = "" if split else split_in_stem(path.stem)
            found.append(Table(path, columns, lines, picture, split, part, delimiter != ","))
    return found


def _rows(text: str) -> tuple[tuple[str, ...], tuple[Mapping[str, str], ...], str]:
    """Columns, lines and the delimiter, which Excel may say in a line of its own, `sep=;`."""
    said = re.match(r"sep=(.)\r?\n", text)
    text = text[said.end() :] if said else text
    head = text.split("\n", 1)[0]
    delimiter = said[1] if said else max(_DELIMITERS, key=head.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    columns = tuple(str(name).strip() for name in reader.fieldnames or ())
    lines = tuple(
        {str(k).strip(): str(v or "").strip() for k, v in line.items() if k is not None} for line in reader
    )  # fmt: skip
    return columns, lines, delimiter


def same_kind(every: Sequence[Table], usable: Callable[[Table], object], reading: str) -> tuple[list[Table], list[str]]:
    """The first table that is usable, with those of other splits (`train.csv`, `val.csv`) and the same columns; and
    notes on usable ones that are left out."""
    fitting = [table for table in every if usable(table)]
    if not fitting:
        return [], []
    first = next((table for table in fitting if table.split or table.part), fitting[0])
    taken = [one for one in fitting if one is first or (first.part and one.part and one.columns == first.columns)]
    others = [table.path.name for table in fitting if table not in taken]
    note = f"{', '.join(others)} left out: {reading} come from {', '.join(table.path.name for table in taken)}"
    return taken, [note] if others else []


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


def picture_of(folder: Folder, table: Table, line: Mapping[str, str], where: str, reading: Reading) -> Path | None:
    """The picture that a line names; None where there is none that is taken, which `reading` then says. `where`: the
    line, in words."""
    name, near = line[table.picture], table.path.parent
    found = folder.picture(name, near)
    if found is None and folder.is_untaken(name, near):
        reading.counts[UNTAKEN_LABELS] += 1
    elif found is None:
        reading.problems.append(f"{where}: there is no picture {name!r}")
    return found


def attributes(table: Table, used: set[str], reading: Reading) -> list[dict[str, str]]:
    """Per line: the columns that are nothing else and have two values or some more; notes name those with many. Where
    there is a column of groups (`GROUPS`), `table.GROUP` holds its cell."""
    values = {name: len({line[name] for line in table.lines}) for name in table.columns if name and name not in used}
    group = _first(values, GROUPS)
    group = group if values.get(group, 0) >= LEAST_GROUPS or group == GROUP else ""
    many = [name for name, count in values.items() if count > MOST_VALUES and name != group]
    if many:
        reading.notes.append(
            f"columns of {table.path.name} with more than {MOST_VALUES} values are no attributes: {', '.join(many)}"
        )
    kept = [name for name, count in values.items() if 1 < count <= MOST_VALUES and name != GROUP]
    found = [{name: line[name] for name in kept if line[name]} for line in table.lines]
    if group:
        reading.notes.append(f"{values[group]} groups by the column {group!r}")
        found = [{**one, GROUP: line[group]} for one, line in zip(found, table.lines, strict=True)]
    return found


def own_attributes(folder: Folder) -> dict[Path, Mapping[str, str]]:
    """Of a data set of ours: picture -> attributes, from its `cases.csv`."""
    found: dict[Path, Mapping[str, str]] = {}
    for table in tables(folder):
        if table.path.name == TABLE and "case" in table.columns:
            extra = attributes(table, {"case", "origin", table.picture, table.split}, Reading(""))
            for line, more in zip(table.lines, extra, strict=True):
                found[table.path.parent / line[table.picture]] = more
    return found
