"""Parquet with encoded pictures in it, such as Spark's `binaryFile` or a data set of Hugging Face writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.batch.buckets import connect, explained, split_address
from flows.batch.listing import Item, Listing, too_large
from registry.buckets import regions
from registry.buckets.client import is_bucket
from registry.core.errors import BadInput, first_line

if TYPE_CHECKING:
    import pyarrow as pa

BYTES = ("content", "bytes", "image.bytes")
"""Columns that may hold the bytes: Spark's name, a plain one, and the field of Hugging Face's pictures."""
NAMES = ("path", "image.path")
READ_ROWS = 32
"""Rows that are read at once: writers often put all pictures of a file into one row group."""


class Table:
    """A file, or all files ending in .parquet of a folder or prefix, in the order of their names. A row is a picture;
    its name is the column `path`, its label `label`, where there are such columns."""

    def __init__(self, where: str, most_bytes: int) -> None:
        self.name, self._most = where.rstrip("/") if is_bucket(where) else str(Path(where).resolve()), most_bytes
        self._remote = is_bucket(where)
        regions.check(where)
        self._paths: list[str] = []
        self._cursor: _Cursor | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Open files stay here."""
        return {**self.__dict__, "_cursor": None}

    def find(self, endings: Sequence[str]) -> Listing:
        """All rows. `endings` do not matter: rows may have names without any, and the bytes say what they are."""
        found = self._files()
        self._paths = [path for path, _ in found]
        return Listing(tuple(item for n, (_, stamp) in enumerate(found) for item in self._rows(n, stamp)), 0)

    def _files(self) -> list[tuple[str, str]]:
        """Each file with a stamp."""
        if self._remote:
            bucket, prefix = split_address(self.name)
            files = connect()
            with explained(self.name):
                found = files.find(f"{bucket}/{prefix}", detail=True)
            names = {path: str(about.get("ETag", "")).strip('"') for path, about in found.items()}
        else:
            root = Path(self.name)
            paths = [root] if root.is_file() else root.glob("*.parquet")
            names = {str(path): str(path.stat().st_mtime_ns) for path in paths}
        read = {path: stamp for path, stamp in names.items() if path.rpartition("/")[2][0] not in "._"}
        if not read:
            raise BadInput(f"there is no file {self.name}", expected="Parquet with the files' bytes", fix="correct it")
        return sorted(read.items())

    def _rows(self, number: int, stamp: str) -> Iterator[Item]:
        with _readable(self._paths[number]), _opened(self._paths[number], self._remote) as file:
            names, labels = self._column(file, NAMES, needed=False), self._column(file, ("label",), needed=False)
            self._column(file, BYTES)
            base = self._paths[number].rpartition("/")[2]
            for group in range(file.num_row_groups):
                wanted = [name for name in (names, labels) if name]
                table = file.read_row_group(group, columns=wanted) if wanted else None
                count = file.metadata.row_group(group).num_rows
                paths = _values(table, names, count)
                given = _values(table, labels, count)
                for row in range(count):
                    name = paths[row] if paths[row] is not None else f"{base}#{group}.{row}"
                    label = None if given[row] is None else str(given[row])
                    yield Item(str(name), 0, f"{number}:{group}:{row}:{stamp}", label)

    def _column(self, file: Any, known: Sequence[str], needed: bool = True) -> str:
        """The first of the names that the file has; "" if it has none and need not."""
        have = {file.metadata.schema.column(n).path for n in range(file.metadata.num_columns)}
        found = next((name for name in known if name in have), "")
        if needed and not found:
            raise BadInput(
                f"{self.name} has the columns {', '.join(sorted(have)[:8])}",
                expected=f"the files' bytes in a column {' or '.join(known)}",
                fix="name the column so",
            )
        return found

    def read(self, items: Sequence[Item]) -> list[bytes | str]:
        return [self._read(item) for item in items]

    def _read(self, item: Item) -> bytes | str:
        file, group, row = (int(part) for part in item.stamp.split(":")[:3])
        try:
            cursor = self._cursor
            if cursor is None or not cursor.reaches(file, group, row):
                cursor = self._cursor = self._open(file, group)
            body = cursor.value(row)
        except Exception as error:  # a damaged page says so in many ways
            self._cursor = None
            return f"cannot be read: {first_line(error)[:200]}"
        if body is None:
            return "there are no bytes in this row"
        return too_large(len(body), self._most) or body

    def _open(self, number: int, group: int) -> _Cursor:
        file = _opened(self._paths[number], self._remote)
        return _Cursor(file, self._column(file, BYTES), number, group)


class _Cursor:
    """Reads the bytes of a row group from its beginning, `READ_ROWS` at a time. It goes forward only."""

    def __init__(self, file: Any, column: str, number: int, group: int) -> None:
        self._place, self._start, self._rows, self._nested = (number, group), 0, None, "." in column
        self._batches = file.iter_batches(READ_ROWS, row_groups=[group], columns=[column], use_threads=False)

    def reaches(self, file: int, group: int, row: int) -> bool:
        return self._place == (file, group) and row >= self._start

    def value(self, row: int) -> bytes | None:
        while self._rows is None or row >= self._start + len(self._rows):
            self._start += 0 if self._rows is None else len(self._rows)
            self._rows = next(self._batches).column(0)
        value = self._rows[row - self._start].as_py()
        return value["bytes"] if self._nested and value else value


def _values(table: pa.Table | None, column: str, count: int) -> list[Any]:
    if table is None or not column:
        return [None] * count
    top, _, below = column.partition(".")
    values = table[top].to_pylist()
    return [value and value[below] for value in values] if below else values


def _opened(path: str, remote: bool) -> Any:
    """A ParquetFile that holds no more than some pages in memory."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(connect().open(path) if remote else path, buffer_size=2**20, pre_buffer=False)


@contextmanager
def _readable(path: str) -> Iterator[None]:
    """Turns what Arrow says of a file that is no Parquet into BadInput."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise BadInput(
            f"{path} cannot be read as Parquet: {first_line(error)[:200]}",
            expected="Parquet with the files' bytes",
            fix="write it again",
        ) from error
