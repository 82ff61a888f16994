"""Opens what a batch works on: a folder, a glob, a bucket of S3, or Parquet with the files' bytes.

A source can be pickled: the driver of a cluster lists, the workers read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from glob import glob, has_magic
from pathlib import Path

from flows.batch.buckets import Bucket
from flows.batch.listing import Item, Listing, Source, as_listing, too_large
from flows.batch.tables import Table
from registry.buckets.client import is_bucket
from registry.core.errors import BadInput


def open_source(where: str, most_bytes: int) -> Source:
    """Opens `s3://bucket/prefix`, a folder, a glob, or Parquet: a file, or a folder of files ending in .parquet.

    Args:
        most_bytes: larger files are not read.

    Raises:
        BadInput: there is nothing, or the address names no bucket.
    """
    if is_bucket(where):
        return (Table if where.rstrip("/").endswith(".parquet") else Bucket)(where, most_bytes)
    if "://" in where:
        raise BadInput(f"{where} is an address of another kind", expected="a folder or s3://bucket/prefix")
    path = Path(where)
    if path.suffix == ".parquet" or (path.is_dir() and next(path.glob("*.parquet"), None)):
        return Table(where, most_bytes)
    if has_magic(where) and not path.exists():
        return Glob(where, most_bytes)
    return Folder(path, most_bytes)


class Folder:
    """A folder with all below it. Leaves out hidden files and folders, and does not follow links to folders."""

    def __init__(self, root: Path, most_bytes: int) -> None:
        if not root.is_dir():
            raise BadInput(
                f"there is no folder {root}",
                expected="a folder, a glob, s3://bucket/prefix, or Parquet with the files' bytes",
                fix="correct it",
            )
        self.root, self.name, self._most = root.resolve(), str(root.resolve()), most_bytes

    def find(self, endings: Sequence[str]) -> Listing:
        return as_listing(self._about(self._walk()), endings)

    def _walk(self) -> Iterator[Path]:
        def refuse(error: OSError) -> None:
            raise BadInput(
                f"{error.filename} cannot be listed: {error.strerror}", fix="fix its rights, or move it elsewhere"
            ) from error

        for folder, below, names in os.walk(self.root, onerror=refuse):
            below[:] = [name for name in below if not name.startswith(".")]
            yield from (Path(folder, name) for name in names)

    def _about(self, paths: Iterable[Path]) -> Iterator[tuple[str, int, str]]:
        for path in paths:
            # Regular files only: reading a pipe could wait for ever.
            if not path.name.startswith(".") and path.is_file():
                about = path.stat()
                yield path.relative_to(self.root).as_posix(), about.st_size, str(about.st_mtime_ns)

    def read(self, items: Sequence[Item]) -> list[bytes | str]:
        return [too_large(item.size, self._most) or self._read(item) for item in items]

    def _read(self, item: Item) -> bytes | str:
        try:
            with open(f"{self.root}/{item.path}", "rb") as stream:  # a Path costs half as much as reading 4 KB
                return stream.read()
        except OSError as error:
            return f"cannot be read: {error.strerror or error}"


class Glob(Folder):
    """The files that a shell's pattern names; `**` goes through folders. Paths are relative to the last folder before
    the first pattern, so that labels are those of the whole folder."""

    def __init__(self, pattern: str, most_bytes: int) -> None:
        parts = Path(pattern).parts
        first = next(n for n, part in enumerate(parts) if has_magic(part))
        super().__init__(Path(*parts[:first]), most_bytes)
        self._pattern = str(Path(*parts[first:]))
        self.name = f"{self.root}/{self._pattern}"

    def _walk(self) -> Iterator[Path]:
        return (self.root / name for name in glob(self._pattern, root_dir=self.root, recursive=True))
