"""Writes files and folders in one step: readers never see half of one, and a full disk leaves nothing behind."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from registry.core.errors import StorageError

_DISK = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up", errno.EROFS: "it is read-only"}


@contextmanager
def disk_errors(target: Path) -> Iterator[None]:
    """Turns a full disk, a used-up quota and missing rights into a StorageError that names `target`."""
    try:
        yield
    except OSError as error:
        why = _DISK.get(error.errno or 0)
        if why is None and not isinstance(error, PermissionError):
            raise
        raise StorageError(
            f"could not write {target}: {why or 'permission denied'}",
            expected="free space, and the right to write there",
            fix=f"free some space (or fix the rights) under {target.parent} and run the same command again; "
            "nothing was partly written",
        ) from error


def write_file(path: Path, content: bytes | str | Iterable[bytes]) -> Path:
    """Writes a temporary file beside `path` and renames it to `path`. The umask decides who may read it.

    Args:
        content: several pieces are written one after the other, and need not be in memory together.
    """
    raw = content.encode() if isinstance(content, str) else content
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        name = _beside(path)
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            with os.fdopen(handle, "wb") as out:
                out.writelines([raw] if isinstance(raw, bytes) else raw)
            os.replace(name, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise
    return path


def _beside(path: Path) -> Path:
    """An unused hidden name in the same folder, from which a rename is one step."""
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yields an empty folder that replaces `path` on success. On an error it is removed, and `path` stays as it was."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = _beside(path)
        draft.mkdir()
        old = draft.with_name(draft.name + ".old")
        try:
            yield draft
            if path.exists():
                os.rename(path, old)
            try:
                os.rename(draft, path)
            except BaseException:
                if old.exists() and not path.exists():
                    os.rename(old, path)
                raise
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        shutil.rmtree(old, ignore_errors=True)


def require_free_space(folder: Path, least_mb: int) -> None:
    """Refuses to begin on a disk that is nearly full. Raises StorageError. `folder` need not exist yet."""
    there = next(one for one in (folder, *folder.parents) if one.is_dir())
    free = shutil.disk_usage(there).free / 1e6
    if free < least_mb:
        raise StorageError(
            f"{free:.0f} MB are free under {there}",
            expected=f"at least {least_mb} MB",
            fix="free some space and run the same command again",
        )


def digest_file(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
