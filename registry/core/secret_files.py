"""Secrets that a first start makes and every later one reads: a file that only its owner may read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from registry.core.errors import StorageError

LENGTH = 32
"""Bytes of a secret."""


def secret(path: Path) -> bytes:
    """The secret in a file of mode 0600; makes it where there is none. Safe where several processes start at once.

    Raises:
        StorageError: the file cannot be made or read, or holds something else.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        found = path.read_bytes()
    except OSError as error:
        raise StorageError(
            f"the secret {path} cannot be made or read: {error.strerror}",
            expected="a file of this user",
            fix="correct its rights, or free some space",
        ) from error
    if len(found) != LENGTH:
        raise StorageError(
            f"the secret {path} has {len(found)} bytes",
            expected=f"{LENGTH}",
            fix="put the file of a backup in its place; without one delete it: a new one is made at the next start",
        )
    return found


def _make(path: Path) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(LENGTH))
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # unlike a rename it never replaces what another process made meanwhile
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)
