"""Opens a zip of data as a folder.

`zipfile` checks sizes and sums. Names are checked here: `extractall` would silently change hostile ones.
"""

from __future__ import annotations

import errno
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from registry.core.errors import DataError
from registry.core.files import disk_errors

MAX_FILES = 1_000_000
MAX_BYTES = 200_000_000_000
MAX_GROWTH = 200
"""Unpacked bytes per packed byte. Pictures hardly shrink, label text to a tenth, and a bomb to a thousandth."""

FREE_GROWTH = 64_000_000  # bytes that any zip may unpack to, however small it is
_BLOCK = 1 << 20
_SYMLINK = 0o120000


@contextmanager
def as_folder(source: Path) -> Iterator[Path]:
    """Yields `source` if it is a folder; a zip is unpacked into a temporary folder, which is deleted afterwards.

    Nothing is written outside that folder, links are refused, and so are archives that would fill the disk.

    Raises:
        DataError: neither a folder nor a zip, or a zip that is damaged, encrypted, hostile or too large.
    """
    if source.is_dir():
        yield source
        return
    check_source(source)
    with disk_errors(source), tempfile.TemporaryDirectory(prefix="visionloop-") as folder:
        _unpack(source, Path(folder))
        yield Path(folder)


def check_source(source: Path) -> None:
    """What can be said of a source before it is opened. Raises DataError: neither a zip nor a folder with a file."""
    if source.is_dir():
        if any(path.is_file() for path in source.rglob("*")):
            return
        found = "holds no file"
    elif zipfile.is_zipfile(source):
        return
    else:
        found = "is neither a folder nor a zip file" if source.exists() else "does not exist"
    raise DataError(
        f"{source} {found}",
        expected="a folder with data, or a .zip of one",
        fix="correct the path, or pack the data as a .zip",
    )


def _unpack(source: Path, folder: Path) -> None:
    again = "pack the folder again and import that"
    try:
        with zipfile.ZipFile(source) as archive:
            entries = {entry: _path_of(entry) for entry in archive.infolist() if entry.filename[-1:] != "/"}
            wrong = [entry.filename for entry, path in entries.items() if path is None]
            if wrong:
                raise DataError(
                    f"{source.name} holds links, or files that would land outside its folder: "
                    + ", ".join(map(repr, wrong[:10])),
                    expected="plain files with relative paths",
                    fix=f"do not trust this file; {again}",
                )
            paths = {entry: path for entry, path in entries.items() if path is not None}
            if both := _files_and_folders(list(paths.values())):
                raise DataError(
                    f"{source.name} holds {', '.join(map(repr, both[:10]))} both as a file and as a folder",
                    expected="each name once",
                    fix=again,
                )
            packed = source.stat().st_size
            room = min(MAX_BYTES, FREE_GROWTH + MAX_GROWTH * packed, shutil.disk_usage(folder).free)
            # zipfile reads no more than an entry claims and checks its sum, so a false size ends in BadZipFile.
            if len(entries) > MAX_FILES or sum(entry.file_size for entry in entries) > room:
                raise _too_large(source, room)
            for entry, path in paths.items():
                _extract(archive, entry, folder / path)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DataError(f"{source.name} is damaged: {error}", expected="a whole zip file", fix=again) from error
    except RuntimeError as error:  # zipfile raises it for an encrypted entry
        raise DataError(
            f"{source.name} cannot be unpacked: {error}", expected="a zip without a password", fix=again
        ) from error
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise DataError(
            f"{source.name} holds a name that is too long for this disk", expected="at most 255 bytes", fix=again
        ) from error


def _path_of(entry: zipfile.ZipInfo) -> PurePosixPath | None:
    """The entry's path below the folder; None for a link or a path that leaves the folder."""
    name = _name_of(entry).replace("\\", "/")
    path = PurePosixPath(name)
    link = (entry.external_attr >> 16) & 0o170000 == _SYMLINK
    if link or path.is_absolute() or ".." in path.parts or not path.parts or ":" in path.parts[0] or "\0" in name:
        return None
    return path


def _name_of(entry: zipfile.ZipInfo) -> str:
    """The entry's name. macOS writes UTF-8 without its flag, and zipfile then decodes it as code page 437."""
    if entry.flag_bits & 0x800:
        return entry.filename
    try:
        return entry.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return entry.filename


def _files_and_folders(paths: Sequence[PurePosixPath]) -> list[str]:
    """Names that are both a file and a folder of other files."""
    folders = {above for path in paths for above in path.parents}
    return sorted({str(path) for path in paths if path in folders})


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as stream, target.open("wb") as out:
        shutil.copyfileobj(stream, out, _BLOCK)


def _too_large(source: Path, room: int) -> DataError:
    return DataError(
        f"{source.name} unpacks to more than {room / 1e9:.3g} GB, or to more than {MAX_FILES} files",
        expected=f"at most {MAX_GROWTH} times its own size, and room for it on the disk",
        fix="unpack it yourself, look at it, and import the folder",
    )
