"""The files of a task: encrypted inputs and results in `var/tasks/<id>/`."""

from __future__ import annotations

from pathlib import Path

from registry.core.settings import settings
from registry.encryption.files import read_file, write_file


def task_folder(task_id: str) -> Path:
    return settings().var / "tasks" / task_id


def input_file(task_id: str, number: int) -> Path:
    return task_folder(task_id) / f"input-{number}"


def result_file(task_id: str, owner: str) -> Path:
    """Named after the owner: a service that lost the task must not overwrite the result of the new owner."""
    return task_folder(task_id) / f"result-{owner}"


def findings_file(task_id: str, owner: str) -> Path:
    """The JSON answer beside a result that is a file."""
    return task_folder(task_id) / f"findings-{owner}"


def name_of(path: Path) -> str:
    """The name under which a task's file is encrypted. In the place of another file it cannot be read."""
    return f"{path.parent.name}/{path.name}"


def write(path: Path, content: bytes) -> None:
    """Encrypts an input or a result into `path`. Raises StorageError."""
    write_file(path, content, name_of(path))


def read(path: Path) -> bytes:
    """An input or a result. One from before encryption is read as it is.

    Raises:
        FileNotFoundError: there is no such file.
        EncryptionError: it cannot be decrypted.
    """
    return read_file(path, name_of(path), or_plain=True)
