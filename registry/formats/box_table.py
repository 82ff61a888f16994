"""A csv with a line for each box: a column of pictures and four of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from registry.cases.yolo_labels import LabelBox
from registry.formats import outlines
from registry.formats.csv_tables import Table, attributes, label_column, picture_of, same_kind, tables
from registry.formats.source_folder import Folder
from registry.formats.sources import FoundCase, Names, Reading, plain, split_of

_CORNERS = (("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"), ("left", "top", "right", "bottom"),
            ("x0", "y0", "x1", "y1"))  # fmt: skip
_SIZES = (("x", "y", "w", "h"), ("x", "y", "width", "height"), ("left", "top", "width", "height"))


def columns(table: Table) -> tuple[tuple[str, str, str, str], bool] | None:
    """The four columns, `head_x0` and the like as well, and whether the last two are width and height."""
    by_name = {name.casefold(): name for name in table.columns}
    prefixes = ["", *sorted({name.rpartition("_")[0] + "_" for name in by_name if "_" in name})]
    for sets, sizes in ((_CORNERS, False), (_SIZES, True)):
        for prefix in prefixes:
            for four in sets:
                if all(prefix + name in by_name for name in four):
                    a, b, c, d = (by_name[prefix + name] for name in four)
                    return (a, b, c, d), sizes
    return None


def read(folder: Folder, names: Names, classes: Sequence[str]) -> Reading | None:
    """The pictures that the table names, with their boxes; None without such a table. `classes`: the model's."""
    taken, notes = same_kind(tables(folder), columns, "boxes")
    if not taken:
        return None
    four = columns(taken[0])
    assert four is not None
    where = ", ".join(folder.shown(table.path) for table in taken)
    reading = Reading(f"{where}: path {taken[0].picture!r}, boxes {', '.join(four[0])}", notes=notes)
    boxes: dict[Path, list[LabelBox]] = {}
    said: dict[Path, FoundCase] = {}
    for table in taken:
        _read_one(folder, table, four, names, classes, reading, boxes, said)
    for path, one in said.items():
        reading.found.append(FoundCase(path, one.split, tuple(boxes.get(path, ())), one.size, one.attributes))
    reading.found += [FoundCase(path, split_of(path, folder.root)) for path in folder.pictures if path not in said]
    return reading


def _read_one(
    folder: Folder,
    table: Table,
    columns: tuple[tuple[str, str, str, str], bool],
    names: Names,
    classes: Sequence[str],
    reading: Reading,
    boxes: dict[Path, list[LabelBox]],
    said: dict[Path, FoundCase],
) -> None:
    """Adds a table's lines to `boxes` and `said`."""
    four, sizes = columns
    by_name = {plain(name): name for name in table.columns}
    whole = [by_name.get(key, "") for key in ("width", "height")]
    whole = whole if all(whole) and not set(whole) & set(four) else []
    column = label_column(table, names)
    extra = attributes(table, {table.picture, table.split, column, *four, *whole}, reading)
    for number, (line, more) in enumerate(zip(table.lines, extra, strict=True), start=2):
        where = f"{table.path.name}, line {number}"
        path = picture_of(folder, table, line, where, reading)
        if path is None:
            continue
        size = outlines.numbers(table.numbers(line, whole), 2) if whole else None
        stated = (size[0], size[1]) if size and min(size) > 0 else None
        split = table.split_of(line) or split_of(path, folder.root)
        first = said.setdefault(path, FoundCase(path, split, (), stated, more))
        if first.split != split:
            reading.problems.append(
                f"{where}: {folder.shown(path)} is in {split or 'no split'}, and in {first.split or 'none'} before"
            )
        cells = table.numbers(line, four)
        if not any(cells):
            continue  # nothing in this picture
        box = outlines.numbers(cells, 4)
        label = line[column] if column else classes[0] if len(classes) == 1 else ""
        if box is None or not label:
            reading.problems.append(f"{where}: no label, or its box is not four numbers")
        elif (name := names.match(label)) is not None:
            x, y, c, d = box
            boxes.setdefault(path, []).append(LabelBox(name, (x, y, x + c, y + d) if sizes else (x, y, c, d)))
