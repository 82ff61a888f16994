"""Writes and reads encrypted files, in constant memory. The format: `registry.encryption.format`.

    write_file(path, content, name)                 a whole file, in one step
    read_file(path, name)
    with Writer.create(path, name) as out:          in pieces; after a crash `Writer.reopen` goes on
        out.write(piece)
        out.finish()
    with Reader(path, name) as file:                from anywhere: decrypts only the segments it needs
        file.read(offset, length)

`name` is what the caller calls the file, e.g. the id of an upload. Under another name it cannot be read.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from registry.core import files
from registry.core.errors import EncryptionError, Refused
from registry.core.files import disk_errors
from registry.encryption.format import (
    HEADER_BYTES,
    PREAMBLE_BYTES,
    SEGMENT_BYTES,
    STREAM_HEAD_BYTES,
    Stream,
    damaged,
    is_encrypted,
    new_preamble,
    plain_start,
    read_stream,
    room,
    start,
)
from registry.encryption.keys import TAG_BYTES, keyring


def encrypt_bytes(content: bytes, name: str) -> bytes:
    """The bytes of an encrypted file."""
    return b"".join(_encrypted_pieces(content, name))


def _encrypted_pieces(content: bytes, name: str) -> Iterator[bytes]:
    preamble, stream = new_preamble(keyring(), name)
    yield preamble
    view, number = memoryview(content), 0
    while len(view) > room(number):
        yield stream.seal(number, view[: room(number)], last=False)
        view, number = view[room(number) :], number + 1
    yield stream.seal(number, view, last=True)


def decrypt_bytes(content: bytes, name: str) -> bytes:
    """The plain bytes of an encrypted file. Raises EncryptionError."""
    stream = read_stream(content[:PREAMBLE_BYTES], keyring(), name, repr(name))
    last = _last_segment(len(content), repr(name))
    view = memoryview(content)
    pieces = (view[start(number) : start(number + 1)] for number in range(last + 1))
    return b"".join(_open(stream, number, bytes(one), number == last, repr(name)) for number, one in enumerate(pieces))


def write_file(path: Path, content: bytes, name: str) -> Path:
    """Encrypts `content` into the file `path`; readers never see half of it. Raises StorageError."""
    return files.write_file(path, _encrypted_pieces(content, name))


def read_file(path: Path, name: str, most: int | None = None, *, or_plain: bool = False) -> bytes:
    """The plain bytes of a file, or the first `most` of them.

    Args:
        or_plain: return a file that is not encrypted as it is. Such files are from versions before encryption.

    Raises:
        FileNotFoundError: there is no such file.
        EncryptionError: it cannot be decrypted.
    """
    if or_plain and not is_encrypted_file(path):
        with path.open("rb") as plain:
            return plain.read(most)
    with Reader(path, name) as file:
        return file.read(0, most)


def is_encrypted_file(path: Path) -> bool:
    """Whether a file is encrypted, or from a version before encryption. Raises FileNotFoundError."""
    with path.open("rb") as file:
        return is_encrypted(file.read(HEADER_BYTES))


class _Opened:
    """An open file. Closes as a context manager."""

    def __init__(self, path: Path, flags: int) -> None:
        self._path = path
        self._handle = os.open(path, flags | os.O_CLOEXEC)

    @property
    def _what(self) -> str:
        return self._path.name

    def close(self) -> None:
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Writer(_Opened):
    """Writes one file from its beginning to its end, in as many pieces as the caller likes.

    Whole segments (1 MiB) go to the disk, the rest waits in memory. `close` without `finish` leaves an unfinished file,
    which nobody can read, and which `reopen` continues. At most one writer of a file is open at a time.
    """

    def __init__(self, path: Path, name: str) -> None:
        """Opens an unfinished file. Use `create` or `reopen`."""
        super().__init__(path, os.O_RDWR)
        try:
            self._begin(name)
        except BaseException:
            self.close()
            raise

    @classmethod
    def create(cls, path: Path, name: str) -> Self:
        """Begins a file, in place of one that is there. Raises StorageError."""
        files.write_file(path, new_preamble(keyring(), name)[0])
        return cls(path, name)

    @classmethod
    def reopen(cls, path: Path, name: str) -> Self:
        """Continues an unfinished file at the plain byte `stored`, after a crash or a `close`.

        From there on, the caller gives the bytes that it gave before: a piece that the crash cut off is on the disk,
        and other bytes in its place are refused. They would be encrypted with the nonce of that piece.

        Raises:
            FileNotFoundError: there is no such file.
            Refused: the file is finished, or another writer has it open.
            EncryptionError: it cannot be decrypted.
        """
        return cls(path, name)

    def _begin(self, name: str) -> None:
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(
                f"{self._what} is being written", expected="one writer at a time", fix="try again later"
            ) from error
        self._stream = read_stream(os.pread(self._handle, PREAMBLE_BYTES, 0), keyring(), name, self._what)
        self._number = max(0, os.fstat(self._handle).st_size - HEADER_BYTES) // SEGMENT_BYTES
        self._rest = bytearray()
        self._torn = os.pread(self._handle, SEGMENT_BYTES, start(self._number))
        before = self._number - 1
        sealed = os.pread(self._handle, start(self._number) - start(before), start(before)) if self._number else b""
        if self._stream.open(self._number, self._torn, last=True) is not None or (
            sealed and self._stream.open(before, sealed, last=True) is not None
        ):
            raise Refused(f"{self._what} is finished", expected="an unfinished file", fix="begin a new one")
        if sealed:
            _open(self._stream, before, sealed, False, self._what)

    @property
    def stored(self) -> int:
        """Plain bytes in the file, where `reopen` would go on. They survive the end of this process; only `sync` makes
        them survive a power cut."""
        return plain_start(self._number)

    @property
    def written(self) -> int:
        """Plain bytes in the file and in memory: where this writer goes on."""
        return self.stored + len(self._rest)

    def write(self, content: bytes | bytearray | memoryview) -> None:
        """Adds bytes. Raises StorageError; EncryptionError, if they are not those that were here before a crash."""
        view = memoryview(content)
        while len(view):
            # A full segment waits for the byte after it: it might be the last one, which is sealed in another way.
            if len(self._rest) == room(self._number):
                self._store(last=False)
            free = room(self._number) - len(self._rest)
            self._rest += view[:free]
            view = view[free:]

    def sync(self) -> int:
        """Makes the whole segments durable, and returns how many plain bytes are. Raises StorageError."""
        with disk_errors(self._path):
            os.fsync(self._handle)
        return self.stored

    def finish(self) -> None:
        """Writes the last segment, makes all durable and closes the file. Raises as `write`."""
        self._store(last=True)
        self.sync()
        self.close()

    def _store(self, last: bool) -> None:
        sealed = self._stream.seal(self._number, self._rest, last)
        if not sealed.startswith(self._torn):
            raise EncryptionError(
                f"{self._what} does not go on as it began",
                expected=f"from byte {self.stored} on, the bytes that came before the interruption",
                fix="begin a new file",
            )
        view, at = memoryview(sealed), start(self._number)
        with disk_errors(self._path):
            while len(view):
                done = os.pwrite(self._handle, view, at)
                view, at = view[done:], at + done
        self._torn = b""
        self._number += 1
        self._rest.clear()


class Reader(_Opened):
    """Reads any part of a file. May be used from several threads.

    Opening it decrypts the last segment: a file that was cut, or not finished, is refused before a byte is given out.

    Attributes:
        size: plain bytes in the file.

    Raises:
        FileNotFoundError: there is no such file.
        EncryptionError: it cannot be decrypted.
    """

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(path, os.O_RDONLY)
        try:
            self._stream = read_stream(os.pread(self._handle, PREAMBLE_BYTES, 0), keyring(), name, self._what)
            length = os.fstat(self._handle).st_size
            self._last = _last_segment(length, self._what)
            self.size = length - PREAMBLE_BYTES - (self._last + 1) * TAG_BYTES
            self._cached = (self._last, self._decrypt(self._last))
        except BaseException:
            self.close()
            raise

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        """Plain bytes from `offset` on, fewer than `length` where the file ends. Raises EncryptionError."""
        return b"".join(self.pieces(offset, length))

    def pieces(self, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """As `read`, a segment at a time."""
        end = self.size if length is None else min(self.size, offset + length)
        while offset < end:
            number = (offset + STREAM_HEAD_BYTES) // (SEGMENT_BYTES - TAG_BYTES)
            inside = offset - plain_start(number)
            piece = self._segment(number)[inside : inside + end - offset]
            yield piece
            offset += len(piece)

    def _segment(self, number: int) -> bytes:
        cached, plain = self._cached
        if cached != number:
            plain = self._decrypt(number)
            self._cached = (number, plain)
        return plain

    def _decrypt(self, number: int) -> bytes:
        sealed = os.pread(self._handle, start(number + 1) - start(number), start(number))
        return _open(self._stream, number, sealed, number == self._last, self._what)


def _last_segment(length: int, what: str) -> int:
    """The number of the last segment in a file of `length` bytes. Raises EncryptionError."""
    last = (length - HEADER_BYTES - 1) // SEGMENT_BYTES
    if length - start(max(last, 0)) < TAG_BYTES:
        raise damaged(what, "it is cut, or its end is")
    return last


def _open(stream: Stream, number: int, sealed: bytes, last: bool, what: str) -> bytes:
    """The plain bytes of a segment. Raises EncryptionError."""
    plain = stream.open(number, sealed, last)
    if plain is None and last and stream.open(number, sealed, last=False) is not None:
        raise EncryptionError(
            f"{what} has no end: it was cut, or its writing was interrupted",
            expected="a finished file",
            fix="finish or repeat the upload; else restore it from a backup",
        )
    if plain is None:
        raise damaged(what, f"segment {number} is")
    return plain
