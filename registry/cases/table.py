"""`cases.csv`: the cases of a data set of pictures, with their splits and origins."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from registry.cases.splits import SPLITS
from registry.core.errors import DataError
from registry.core.files import write_file

TABLE = "cases.csv"
COLUMNS = ("case", "split", "origin", "file")
GROUP = "group"


@dataclass(frozen=True)
class Row:
    """One case. `file` is the picture's path below the data set's folder, with forward slashes; "" in a table without
    that column, where the case's name says where its files are."""

    case: str
    split: str
    origin: str
    file: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    group: str = ""


def read(root: Path, model: str, files: bool = True) -> list[Row]:
    """All rows, sorted by case. The column `group` holds groups; other columns beyond `COLUMNS` are attributes.

    Args:
        files: whether there is the column `file`.

    Raises:
        DataError: there is no table, it cannot be read, or a row names another split or a file outside of `root`.
    """
    path, columns = root / TABLE, COLUMNS if files else COLUMNS[:-1]
    fix = f"make the starter data with `visionloop data synth {model}`, or import your own"
    if not path.is_file():
        raise DataError(f"there is no {path}", expected=f"a data set of {model}", fix=fix)
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline=""), strict=True)
        names, lines = list(reader.fieldnames or ()), list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}", expected="a table in UTF-8", fix=fix) from error
    if tuple(names[: len(columns)]) != columns or len(set(names)) < len(names):
        raise DataError(f"{path} has the columns {','.join(names)}", expected=",".join((*columns, "...")), fix=fix)
    problems = [problem for number, line in enumerate(lines, start=2) if (problem := _problem(line, number, files))]
    if problems:
        raise DataError(
            f"{path} is damaged:\n  " + "\n  ".join(problems[:20]),
            expected="on each line: a case, train, val or test, its origin"
            + ", the picture's path below the folder" * files,
            fix=f"fix these lines; or {fix}",
        )
    extra = [name for name in names[len(columns) :] if name != GROUP]
    rows = [
        Row(
            line["case"],
            line["split"],
            line["origin"],
            line["file"] if files else "",
            attributes={name: line[name] for name in extra if line[name]},
            group=line.get(GROUP) or "",
        )
        for line in lines
    ]
    return sorted(rows, key=lambda row: row.case)


def _problem(line: Mapping[str | None, str | None], number: int, files: bool) -> str:
    if None in line or None in line.values():
        return f"line {number} has too few or too many cells"
    if not line["case"]:
        return f"line {number} has no case"
    if line["split"] not in SPLITS:
        return f"line {number} names the split {line['split']!r}"
    file = PurePosixPath(line.get("file") or "/")
    if files and (file.is_absolute() or ".." in file.parts or len(file.parts) < 3):
        return f"line {number} names the file {line['file']!r}"
    return ""


def write(root: Path, rows: Sequence[Row], files: bool = True) -> None:
    """Writes the table, sorted by case: the same rows give the same bytes. `files` as in `read`."""
    extra = sorted({name for row in rows for name in row.attributes})
    grouped = any(row.group for row in rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*(COLUMNS if files else COLUMNS[:-1]), *([GROUP] if grouped else []), *extra))
    for row in sorted(rows, key=lambda row: (row.case, row.split, row.file)):
        attributes = (row.attributes.get(name, "") for name in extra)
        group = [row.group] if grouped else []
        writer.writerow((row.case, row.split, row.origin, *([row.file] if files else []), *group, *attributes))
    write_file(root / TABLE, text.getvalue())


def slug(name: str) -> str:
    """`name` as a file name for any system; "case" if nothing is left of it."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:120] or "case"
