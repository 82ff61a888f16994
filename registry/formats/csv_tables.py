"""Tables of pictures and boxes (csv, tsv), as spreadsheets and scripts write them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from registry.cases.splits import split_from_folders, split_from_name, split_from_stem
from registry.cases.table import GROUP, TABLE
from registry.cases.yolo_labels import LabelBox
from registry.formats import outlines
from registry.formats.source_folder import SourceFolder, Unreadable, collect_unreadable
from registry.formats.sources import ClassMatcher, ReadResult, SourceCase, name_key

_PICTURE = ("path", "file", "filename", "file_name", "image", "image_path", "image_name", "picture", "photo", "img")
_SPLIT = ("split", "set", "subset", "fold", "partition")
_LABEL = ("label", "class", "class_name", "category", "name", "target")
GROUPS = tuple(f"{name}{end}" for name in ("group", "patient", "subject", "sequence", "camera") for end in ("", "_id"))
"""Names of a column that says which pictures stay together. A table's first one counts."""

MIN_GROUPS = 3
"""A column with fewer values does not hold groups: each split needs one."""

MAX_VALUES = 12
"""A column with more values is not an attribute: slices of a handful of cases say nothing."""


@dataclass(frozen=True)
class Table:
    """A csv with a column of pictures.

    Attributes:
        rows: cells by column name, stripped.
        picture, split: names of columns; "" if there is none.
        file_split: the split that the file's own name gives, as `val.csv` does; the column `split` comes first.
        comma: whether numbers are written as 12,5, since commas do not separate cells.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, str], ...]
    picture: str
    split: str
    file_split: str = ""
    comma: bool = False

    def numbers(self, row: Mapping[str, str], columns: Iterable[str]) -> list[str]:
        """These cells, with a decimal point."""
        return [row[name].replace(",", ".") if self.comma else row[name] for name in columns]


@dataclass(frozen=True)
class PictureRow:
    """A table's row with its picture. `where` names the row for messages, e.g. `boxes.csv, line 7`."""

    where: str
    picture: Path
    split: str
    cells: Mapping[str, str]
    attributes: Mapping[str, str]


def tables(folder: SourceFolder) -> list[Table]:
    """The csv and tsv files that name pictures. One that cannot be read is noted in `folder.unread`."""
    found = []
    for path in folder.with_suffix(".csv", ".tsv"):
        with collect_unreadable(folder.unread):
            columns, rows, delimiter = _parse(folder, path)
            if (picture := _first(columns, _PICTURE)) and rows:
                split = _first(columns, _SPLIT)
                split = split if split and any(split_from_name(row[split]) for row in rows) else ""
                file_split = "" if split else split_from_stem(path.stem)
                found.append(Table(path, columns, rows, picture, split, file_split, delimiter != ","))
    return found


def _parse(folder: SourceFolder, path: Path) -> tuple[tuple[str, ...], tuple[Mapping[str, str], ...], str]:
    """Columns, rows and the delimiter, which Excel may state on a line of its own, `sep=;`."""
    text = folder.text(path, folder.count_names(path.parent))
    stated = re.match(r"sep=(.)\r?\n", text)
    text = text[stated.end() :] if stated else text
    delimiter = stated[1] if stated else max(",;\t|", key=text.split("\n", 1)[0].count)
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
        columns = tuple(str(name).strip() for name in reader.fieldnames or ())
        rows = tuple({str(k).strip(): str(v or "").strip() for k, v in row.items() if k is not None} for row in reader)
    except csv.Error as error:
        raise Unreadable(f"{folder.relative(path)} is not a readable table: {error}") from error
    return columns, rows, delimiter


def same_kind(every: Sequence[Table], usable: Callable[[Table], object], labels: str) -> tuple[list[Table], list[str]]:
    """The first usable table, with those of other splits (`train.csv`, `val.csv`) and the same columns; and notes on
    usable ones that are left out. `labels`: what is read from them, for the notes."""
    fitting = [table for table in every if usable(table)]
    if not fitting:
        return [], []
    first = next((table for table in fitting if table.split or table.file_split), fitting[0])
    taken = [
        table
        for table in fitting
        if table is first or (first.file_split and table.file_split and table.columns == first.columns)
    ]
    others = ", ".join(table.path.name for table in fitting if table not in taken)
    note = f"{others} left out: {labels} come from {', '.join(table.path.name for table in taken)}"
    return taken, [note] if others else []


def _first(columns: Iterable[str], names: Sequence[str]) -> str:
    by_name = {column.casefold(): column for column in columns}
    return next((by_name[name] for name in names if name in by_name), "")


def label_column(table: Table, matcher: ClassMatcher) -> str:
    """The column called label or the like; else the only one whose every value is one of the model's classes."""
    if named := _first(table.columns, _LABEL):
        return named
    free = [name for name in table.columns if name and name not in (table.picture, table.split)]
    values = {name: {row[name] for row in table.rows} - {""} for name in free}
    fitting = [name for name, found in values.items() if found and all(map(matcher.is_known, found))]
    return fitting[0] if len(fitting) == 1 else ""


def picture_rows(folder: SourceFolder, table: Table, used: Collection[str], result: ReadResult) -> Iterator[PictureRow]:
    """The rows that name a supported picture; the others are counted, or become problems. `used`: the columns that are
    not attributes."""
    extra = attributes(table, {table.picture, table.split, *used}, result)
    for number, (row, mine) in enumerate(zip(table.rows, extra, strict=True), start=2):
        where, name = f"{table.path.name}, line {number}", row[table.picture]
        picture = result.find_picture(folder, [name], table.path.parent, f"{where}: there is no picture {name!r}")
        if picture is not None:
            split = (split_from_name(row[table.split]) if table.split else "") or table.file_split
            yield PictureRow(where, picture, split or split_from_folders(picture, folder.root), row, mine)


def attributes(table: Table, used: Collection[str], result: ReadResult) -> list[dict[str, str]]:
    """Each row's attributes: the columns not in `used` with 2 to `MAX_VALUES` values. Notes name those with more.
    Where there is a column of groups (`GROUPS`), `table.GROUP` holds its cell."""
    values = {name: len({row[name] for row in table.rows}) for name in table.columns if name and name not in used}
    group = _first(values, GROUPS)
    group = group if values.get(group, 0) >= MIN_GROUPS or group == GROUP else ""
    many = [name for name, count in values.items() if count > MAX_VALUES and name != group]
    if many:
        result.notes.append(
            f"columns of {table.path.name} with more than {MAX_VALUES} values are not attributes: {', '.join(many)}"
        )
    kept = [name for name, count in values.items() if 1 < count <= MAX_VALUES and name != GROUP]
    found = [{name: row[name] for name in kept if row[name]} for row in table.rows]
    if group:
        result.notes.append(f"{values[group]} groups by the column {group!r}")
        found = [{**one, GROUP: row[group]} for one, row in zip(found, table.rows, strict=True)]
    return found


def own_attributes(folder: SourceFolder) -> dict[Path, Mapping[str, str]]:
    """Picture -> attributes, from the `cases.csv` of a data set that visionloop wrote."""
    found: dict[Path, Mapping[str, str]] = {}
    for table in tables(folder):
        if table.path.name == TABLE and "case" in table.columns:
            extra = attributes(table, {"case", "origin", table.picture, table.split}, ReadResult(""))
            for row, mine in zip(table.rows, extra, strict=True):
                found[table.path.parent / row[table.picture]] = mine
    return found


_CORNERS = (("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"), ("left", "top", "right", "bottom"),
            ("x0", "y0", "x1", "y1"))  # fmt: skip
_SIZES = (("x", "y", "w", "h"), ("x", "y", "width", "height"), ("left", "top", "width", "height"))


def box_columns(table: Table) -> tuple[list[str], bool] | None:
    """The four columns of a box, with any prefix (`head_x0`), and whether the last two are width and height."""
    by_name = {name.casefold(): name for name in table.columns}
    prefixes = ["", *sorted({name.rpartition("_")[0] + "_" for name in by_name if "_" in name})]
    for sets, sizes in ((_CORNERS, False), (_SIZES, True)):
        for prefix in prefixes:
            for four in sets:
                if all(prefix + name in by_name for name in four):
                    return [by_name[prefix + name] for name in four], sizes
    return None


def read_boxes(folder: SourceFolder, matcher: ClassMatcher, classes: Sequence[str]) -> ReadResult | None:
    """The pictures that the table names, with their boxes; None without such a table. `classes`: the model's."""
    taken, notes = same_kind(tables(folder), box_columns, "boxes")
    found = box_columns(taken[0]) if taken else None
    if found is None:
        return None
    four, sizes = found
    names = ", ".join(folder.relative(table.path) for table in taken)
    result = ReadResult(f"{names}: path {taken[0].picture!r}, boxes {', '.join(four)}", notes=notes)
    boxes: dict[Path, list[LabelBox]] = {}
    first: dict[Path, SourceCase] = {}
    for table in taken:
        by_name = {name_key(name): name for name in table.columns}
        size = [by_name.get(key, "") for key in ("width", "height")]
        size = size if all(size) and not set(size) & set(four) else []
        column = label_column(table, matcher)
        for row in picture_rows(folder, table, (column, *four, *size), result):
            stated = outlines.positive_pair(*table.numbers(row.cells, size)) if size else None
            case = first.setdefault(row.picture, SourceCase(row.picture, row.split, (), stated, row.attributes))
            if case.split != row.split:
                result.problems.append(
                    f"{row.where}: {folder.relative(row.picture)} is in {row.split or 'no split'}, "
                    f"and in {case.split or 'none'} before"
                )
            mine = boxes.setdefault(row.picture, [])
            cells = table.numbers(row.cells, four)
            if not any(cells):
                continue  # nothing in this picture
            box = outlines.numbers(cells, 4)
            label = row.cells[column] if column else classes[0] if len(classes) == 1 else ""
            if box is None or not label:
                result.problems.append(f"{row.where}: no label, or its box is not four numbers")
            elif (name := matcher.match(label)) is not None:
                x, y, c, d = box
                mine.append(LabelBox(name, (x, y, x + c, y + d) if sizes else (x, y, c, d)))
    result.cases = [replace(case, label=tuple(boxes[picture])) for picture, case in first.items()]
    result.add_unlabelled(folder, first)
    return result
