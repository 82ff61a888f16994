"""A zip of data, opened as the folder that it holds."""

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

MOST_FILES = 1_000_000
MOST_BYTES = 200_000_000_000
MOST_GROWTH = 200
"""Unpacked bytes per packed byte: pictures do not shrink, label text to a tenth, and a bomb to a thousandth."""

FREE_GROWTH = 64_000_000  # bytes that may come out of however small a file
_BLOCK = 1 << 20
_SYMLINK = 0o120000


@contextmanager
def as_folder(source: Path) -> Iterator[Path]:
    """`source` itself if it is a folder; a zip is unpacked into a temporary folder, which goes with the context.

    Nothing is written outside of that folder, links are not followed, and an archive that grows beyond reason is
    given up before it fills the disk.

    Raises:
        DataError: neither a folder nor a zip; or one that is damaged, locked, hostile or too large.
    """
    if source.is_dir():
        yield source
        return
    if not zipfile.is_zipfile(source):
        raise DataError(
            f"{source} is {'neither a folder nor a zip file' if source.exists() else 'not there'}",
            expected="a folder with data, or a .zip of one",
            fix="correct the path, or pack the data as .zip",
        )
    with disk_errors(source), tempfile.TemporaryDirectory(prefix="visionloop-") as folder:
        _unpack(source, Path(folder))
        yield Path(folder)


def _unpack(source: Path, folder: Path) -> None:
    again = "pack the folder again and import that"
    try:
        with zipfile.ZipFile(source) as archive:
            entries = {entry: _path_of(entry) for entry in archive.infolist() if entry.filename[-1:] != "/"}
            wrong = [entry.filename for entry, path in entries.items() if path is None]
            if wrong:
                raise DataError(
                    f"{source.name} holds files that would land outside of its folder, or links: "
                    + ", ".join(map(repr, wrong[:10])),
                    expected="plain files with relative paths",
                    fix=f"do not trust this file; {again}",
                )
            paths = {entry: path for entry, path in entries.items() if path is not None}
            if both := _files_and_folders(list(paths.values())):
                raise DataError(
                    f"{source.name} holds {', '.join(map(repr, both[:10]))} both as a file and as a folder",
                    expected="one file or folder of a name",
                    fix=again,
                )
            packed = source.stat().st_size
            room = min(MOST_BYTES, FREE_GROWTH + MOST_GROWTH * packed, shutil.disk_usage(folder).free)
            # An entry that lies about its size stops there: zipfile reads no more than it claims and checks the sum.
            if len(entries) > MOST_FILES or sum(entry.file_size for entry in entries) > room:
                raise _too_large(source, room)
            for entry, path in paths.items():
                _extract(archive, entry, folder / path)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DataError(f"{source.name} is damaged: {error}", expected="a whole zip file", fix=again) from error
    except RuntimeError as error:  # zipfile's way to say that a password is wanted
        raise DataError(f"{source.name} cannot be unpacked: {error}", expected="no password", fix=again) from error
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise DataError(
            f"{source.name} holds a name that is too long for this disk", expected="at most 255 bytes", fix=again
        ) from error


def _path_of(entry: zipfile.ZipInfo) -> PurePosixPath | None:
    """Where an entry goes below the folder; None if that is nowhere, or it is a link."""
    name = _name_of(entry).replace("\\", "/")
    path = PurePosixPath(name)
    link = (entry.external_attr >> 16) & 0o170000 == _SYMLINK
    if link or path.is_absolute() or ".." in path.parts or not path.parts or ":" in path.parts[0] or "\0" in name:
        return None
    return path


def _name_of(entry: zipfile.ZipInfo) -> str:
    """macOS writes names in UTF-8 without the flag that says so; zipfile then takes them for code page 437."""
    if entry.flag_bits & 0x800:
        return entry.filename
    try:
        return entry.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return entry.filename


def _files_and_folders(paths: Sequence[PurePosixPath]) -> list[str]:
    """Names that are a file here and a folder of other files there."""
    folders = {above for path in paths for above in path.parents}
    return sorted({str(path) for path in paths if path in folders})


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as stream, target.open("wb") as out:
        shutil.copyfileobj(stream, out, _BLOCK)


def _too_large(source: Path, room: int) -> DataError:
    return DataError(
        f"{source.name} unpacks to more than {room / 1e9:.3g} GB, or to more than {MOST_FILES} files",
        expected=f"at most {MOST_GROWTH} times its own size, and room for it on the disk",
        fix="unpack it yourself, look at it, and import the folder",
    )
