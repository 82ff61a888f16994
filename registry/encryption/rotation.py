"""Changes the encryption key of files and of bytes. Their data keys are wrapped anew; the contents stay as they are.

Any step may be killed: a file can be read at every moment, and the next rotation goes on.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from registry.core.errors import EncryptionError, StorageError
from registry.core.files import disk_errors
from registry.encryption.format import HEADER_BYTES, MAGIC, is_encrypted, key_ids, open_slot, slots, unwrap
from registry.encryption.keys import SLOT_BYTES, Keyring, add_key, keyring

KeyIds = frozenset[str]
"""Ids of the keys that wrap the data key of a file: two in the middle of a rotation."""


def encrypted_files(root: Path) -> Iterator[tuple[Path, bytes]]:
    """The encrypted files below a folder, wherever they are, with their headers.

    All of them: one that is left out would be lost with its key.

    Raises:
        StorageError: a file or folder may not be read.
    """
    waiting = [root]
    while waiting:
        with _may_read(), suppress(FileNotFoundError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                elif entry.is_file(follow_symlinks=False) and is_encrypted(header := _header(entry.path)):
                    yield Path(entry.path), header


@contextmanager
def _may_read() -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise StorageError(
            f"{error.filename} may not be read, and might be encrypted",
            expected="the rights of the user who runs the stack",
            fix="run the command as that user",
        ) from error


def _header(path: str) -> bytes:
    with suppress(FileNotFoundError), open(path, "rb", buffering=0) as file:
        return file.read(HEADER_BYTES)
    return b""


def count_by_keys(root: Path) -> Counter[KeyIds]:
    """How many encrypted files below a folder need which keys. Raises as `encrypted_files`."""
    return Counter(key_ids(header) for _, header in encrypted_files(root))


def begin(counted: Iterable[KeyIds]) -> bool:
    """Makes a new first key, unless something still waits for the first one: then a rotation was interrupted.

    Args:
        counted: the keys that are needed now.

    Returns:
        Whether there is a new key.

    Raises:
        SettingsError: the keys are in the setting, and everything uses its first one.
        StorageError: the key file cannot be written.
    """
    ring = keyring()
    older = {key.id for key in ring.keys} - {ring.first.id}
    if any(ids & older for ids in counted):
        return False
    add_key()
    return True


def rotate(root: Path, show: Callable[[float, float, str], None]) -> tuple[int, dict[Path, EncryptionError]]:
    """Wraps the data keys of all files below `root` with the first key, until it finds none that is left.

    Args:
        show: is called with (files done, files, "").

    Returns:
        How many files were changed, and those that could not be, each with its error.

    Raises:
        StorageError: as `encrypted_files`; a file may not be written.
    """
    ring, done, failed = keyring(), 0, dict[Path, EncryptionError]()
    while True:
        # Again after the first time: a process may have been writing a file when the new key came.
        left = [path for path, header in encrypted_files(root) if not is_done(header, ring) and path not in failed]
        if not left:
            os.sync()  # before anybody removes the old key
            return done, failed
        for number, path in enumerate(left):
            show(number, len(left), "")
            try:
                done += rewrap(path, ring)
            except EncryptionError as error:
                failed[path] = error


def is_done(header: bytes, ring: Keyring) -> bool:
    """Whether both slots of a header hold the data key wrapped with the first key."""
    first, second = slots(header)
    return first == second and key_ids(header) == {ring.first.id}


def rewrapped(content: bytes, ring: Keyring, what: str) -> bytes:
    """Encrypted bytes with their data key wrapped with the first key. `what`: for messages.

    Raises:
        MissingKey: their key is not here.
        EncryptionError: their header is damaged.
    """
    slot = ring.first.wrap(unwrap(content[:HEADER_BYTES], ring, what))
    return MAGIC + slot + slot + content[HEADER_BYTES:]


def rewrap(path: Path, ring: Keyring) -> bool:
    """Wraps the data key of a file with the first key. False if it is so already, or the file is gone.

    The time of the file stays: retention counts from it.

    Raises:
        MissingKey: the file's key is not here.
        EncryptionError: its header is damaged.
        StorageError: it may not be written.
    """
    with disk_errors(path):
        try:
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            header, status = os.pread(handle, HEADER_BYTES, 0), os.fstat(handle)
            if is_done(header, ring):
                return False
            slot = ring.first.wrap(unwrap(header, ring, path.name))
            # First the one that does not open, or else either: the other is whole whenever somebody reads or kills.
            spare = 0 if open_slot(slots(header)[1], ring) else 1
            for number in (spare, 1 - spare):
                os.pwrite(handle, slot, len(MAGIC) + number * SLOT_BYTES)
            os.utime(handle, ns=(status.st_atime_ns, status.st_mtime_ns))
            return True
        finally:
            os.close(handle)
