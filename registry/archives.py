"""A zip of data, opened as the folder that it holds."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from registry.errors import DataError
from registry.files import disk_errors

MOST_FILES = 1_000_000
MOST_BYTES = 200_000_000_000
MOST_GROWTH = 200
"""Unpacked bytes per packed byte: pictures do not shrink, label text to a tenth, and a bomb to a thousandth."""

FREE_GROWTH = 64_000_000  # bytes that may come out of however small a file
_BLOCK = 1 << 20
_SYMLINK = 0o120000


@contextmanager
def opened(source: Path) -> Iterator[Path]:
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
            mend="correct the path, or pack the data as .zip",
        )
    with disk_errors(source), tempfile.TemporaryDirectory(prefix="visionloop-") as folder:
        _unpack(source, Path(folder))
        yield Path(folder)


def _unpack(source: Path, folder: Path) -> None:
    again = "pack the folder again and import that"
    try:
        with zipfile.ZipFile(source) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            wrong = [entry.filename for entry in entries if not _inside(entry)]
            if wrong:
                raise DataError(
                    f"{source.name} holds files that would land outside of its folder, or links: "
                    + ", ".join(map(repr, wrong[:10])),
                    expected="plain files with relative paths",
                    mend=f"do not trust this file; {again}",
                )
            packed = source.stat().st_size
            room = min(MOST_BYTES, FREE_GROWTH + MOST_GROWTH * packed, shutil.disk_usage(folder).free)
            if len(entries) > MOST_FILES or _claimed(entries) > room:
                raise _too_large(source, room)
            for entry in entries:
                room -= _extract(archive, entry, folder, room, source)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DataError(f"{source.name} is damaged: {error}", expected="a whole zip file", mend=again) from error
    except RuntimeError as error:  # zipfile's way to say that a password is wanted
        raise DataError(f"{source.name} cannot be unpacked: {error}", expected="no password", mend=again) from error


def _inside(entry: zipfile.ZipInfo) -> bool:
    name = entry.filename.replace("\\", "/")
    path = PurePosixPath(name)
    link = (entry.external_attr >> 16) & 0o170000 == _SYMLINK
    return not (link or path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or "\0" in name)


def _claimed(entries: list[zipfile.ZipInfo]) -> int:
    return sum(entry.file_size for entry in entries)


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path, room: int, source: Path) -> int:
    """Writes one file and counts what really comes out: a header may lie."""
    target = folder / PurePosixPath(entry.filename.replace("\\", "/"))
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with archive.open(entry) as stream, target.open("wb") as out:
        while block := stream.read(_BLOCK):
            written += len(block)
            if written > room:
                raise _too_large(source, room)
            out.write(block)
    return written


def _too_large(source: Path, room: int) -> DataError:
    return DataError(
        f"{source.name} unpacks to more than {room / 1e9:.3g} GB, or to more than {MOST_FILES} files",
        expected=f"at most {MOST_GROWTH} times its own size, and room for it on the disk",
        mend="unpack it yourself, look at it, and import the folder",
    )
