"""A zip that is sent while it is made: nothing of it is kept on the disk or whole in memory."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from io import RawIOBase
from typing import Any

Entry = tuple[str, Iterable[bytes]]
"""A file of the zip: its path in there, and its bytes in pieces."""


def zipped(entries: Iterable[Entry], compression: int = zipfile.ZIP_DEFLATED) -> Iterator[bytes]:
    """The bytes of a zip with these files, in pieces. `compression`: of zipfile."""
    out = _Pipe()
    with zipfile.ZipFile(out, "w", compression) as archive:  # type: ignore[call-overload]
        for name, pieces in entries:
            with archive.open(name, "w", force_zip64=True) as file:
                for piece in pieces:
                    file.write(piece)
                    yield out.taken()
    yield out.taken()


class _Pipe(RawIOBase):
    """What zipfile writes, until it is taken. It cannot seek, so zipfile never goes back."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._held += piece
        return len(piece)

    def taken(self) -> bytes:
        held = bytes(self._held)
        self._held.clear()
        return held
