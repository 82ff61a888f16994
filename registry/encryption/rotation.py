"""Changes the encryption key of files. Their data keys are wrapped anew, in place; the contents stay as they are.

Each step may be killed: a file can be read at any moment, and the next rotation goes on.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from registry.core.errors import EncryptionError, MissingKey
from registry.core.files import disk_errors
from registry.encryption.format import HEADER_BYTES, MAGIC, is_encrypted, key_ids, slots, unwrap
from registry.encryption.keys import SLOT_BYTES, Keyring

KeyIds = frozenset[str]
"""Ids of the keys that wrap the data key of a file: two in the middle of a rotation."""


def encrypted_files(root: Path) -> Iterator[tuple[Path, KeyIds]]:
    """All encrypted files under a folder, which is searched whole: a file that is left out would be lost with its key.

    Raises:
        StorageError: a file or folder may not be read.
    """
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        with disk_errors(folder), suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                elif entry.is_file(follow_symlinks=False):
                    header = _header(Path(entry.path))
                    if is_encrypted(header):
                        yield Path(entry.path), key_ids(header)


def count_by_keys(root: Path) -> Counter[KeyIds]:
    """How many encrypted files under a folder need which keys. Raises as `encrypted_files`."""
    return Counter(ids for _, ids in encrypted_files(root))


def rewrap(path: Path, ring: Keyring) -> bool:
    """Wraps the data key of a file with the first key. False if it is wrapped so already, or the file is gone.

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
            header = os.pread(handle, HEADER_BYTES, 0)
            if key_ids(header) == {ring.first.id}:
                return False
            status = os.fstat(handle)
            data_key = unwrap(header, ring, path.name)
            fresh = ring.first.wrap(data_key)
            # The slot that is not needed comes first: one of them is whole whenever somebody reads, or kills this.
            first, second = slots(header)
            spare = 0 if _opens(second, ring) else 1
            for slot in (spare, 1 - spare):
                os.pwrite(handle, fresh, len(MAGIC) + slot * SLOT_BYTES)
            os.utime(handle, ns=(status.st_atime_ns, status.st_mtime_ns))
            return True
        finally:
            os.close(handle)
