"""The files of a run: encrypted, in `var/web/<id>/`, under fixed names. None is ever named after an upload."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from registry.core.errors import NotFound
from registry.core.settings import settings
from registry.encryption.files import Reader, Writer, read_file, write_file

INPUT = "input"
ANSWER = "answer.json"
ANNOTATED = "annotated.jpg"
VIDEO = "annotated.webm"
MASK = "mask.nii.gz"
PICTURE_MASK = "mask.png"
HEATMAP = "heatmap.jpg"
THUMBNAIL = "thumbnail.jpg"
BEFORE = "before.jpg"
_ID = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True)
class Part:
    """A file that a run may have.

    Attributes:
        media: its content type; "": that of the input.
        shown: whether a browser may show it in a page; else it is saved.
        ending: how its download's name ends, after the name of the input.
    """

    media: str
    shown: bool
    ending: str


PARTS = {
    INPUT: Part("", True, ""),
    ANSWER: Part("application/json", False, "-answer.json"),
    ANNOTATED: Part("image/jpeg", True, "-annotated.jpg"),
    VIDEO: Part("video/webm", True, "-annotated.webm"),
    MASK: Part("application/gzip", False, "-mask.nii.gz"),
    PICTURE_MASK: Part("image/png", True, "-mask.png"),
    HEATMAP: Part("image/jpeg", True, "-heatmap.jpg"),
    THUMBNAIL: Part("image/jpeg", True, "-thumbnail.jpg"),
    BEFORE: Part("image/jpeg", True, "-before.jpg"),
}


def root() -> Path:
    return settings().var / "web"


def folder(run_id: str) -> Path:
    """Raises NotFound for anything that is not an id."""
    if not _ID.fullmatch(run_id):
        raise NotFound("there is no such run", expected="an id of 32 hex digits", fix="open it from your history")
    return root() / run_id


def path(run_id: str, name: str) -> Path:
    """Raises NotFound for a name that is not one of `PARTS`."""
    if name not in PARTS:
        raise NotFound(f"a run has no file {name[:40]!r}", expected=f"one of {', '.join(PARTS)}", fix="correct it")
    return folder(run_id) / name


def write(run_id: str, name: str, content: bytes) -> None:
    """Raises StorageError."""
    write_file(path(run_id, name), content, sealed_as(run_id, name))


def read(run_id: str, name: str) -> bytes:
    """Raises FileNotFoundError, EncryptionError."""
    return read_file(path(run_id, name), sealed_as(run_id, name))


def reader(run_id: str, name: str) -> Reader:
    """For any part of a file; close it. Raises as `read`."""
    return Reader(path(run_id, name), sealed_as(run_id, name))


def create(run_id: str, name: str) -> Writer:
    """Begins a file that is written piece by piece. Raises StorageError."""
    return Writer.create(path(run_id, name), sealed_as(run_id, name))


def reopen(run_id: str, name: str) -> Writer:
    """Continues one. Raises as `registry.encryption.files.Writer.reopen`."""
    return Writer.reopen(path(run_id, name), sealed_as(run_id, name))


def pieces(run_id: str, name: str) -> Iterator[bytes]:
    """A whole file, in pieces of a MiB. Raises as `read`."""
    with reader(run_id, name) as file:
        yield from file.pieces()


def present(run_id: str) -> list[str]:
    """The names of the files that are there, in the order of `PARTS`."""
    return [name for name in PARTS if path(run_id, name).is_file()]


def copy(source: str, target: str, name: str) -> None:
    """Copies a file to another run: it is sealed under that run's id, so its bytes must be encrypted anew."""
    with create(target, name) as out:
        for piece in pieces(source, name):
            out.write(piece)
        out.finish()


def remove(run_id: str) -> None:
    """Removes all files of a run."""
    shutil.rmtree(folder(run_id), ignore_errors=True)


def sealed_as(run_id: str, name: str) -> str:
    """The name under which a file is encrypted. In another's place it cannot be read."""
    return f"web/{run_id}/{name}"
