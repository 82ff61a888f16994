"""Where an output lies: a folder, or a prefix of a bucket. A file appears whole or not at all.

A store can be pickled: workers of a cluster write into it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from flows.batch.buckets import connect, explained, split_address
from registry.buckets import regions
from registry.buckets.client import is_bucket
from registry.core.errors import BadInput, MissingService, Refused
from registry.core.files import disk_errors, write_file

LOCK = "_lock"


class Store(Protocol):
    """Files by their names, which may have folders in them: `rows/part-00000.parquet`."""

    name: str

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Makes the place, and locks it against other runs as far as it can. Raises Refused, BadInput, StorageError."""

    def names(self, folder: str = "") -> list[str]:
        """The names in a folder, not those of folders in it. "": all names below the whole place."""

    def read(self, name: str) -> bytes | None:
        """None if there is no such file."""

    def write(self, name: str, content: bytes) -> None:
        """Replaces what is there. Raises StorageError, MissingService."""

    def create(self, name: str, content: bytes) -> bool:
        """Writes a file unless there is one. Of several runs that do it at once, one gets True."""

    def delete(self, names: Iterable[str]) -> None:
        """Names that are not there do not matter."""


def open_store(where: str) -> Store:
    return BucketStore(where) if is_bucket(where) else FolderStore(Path(where))


class FolderStore:
    """Locks with flock, so that a killed run leaves no lock behind."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder.absolute(), str(folder)

    @contextmanager
    def owned(self) -> Iterator[None]:
        if self.folder.exists() and not self.folder.is_dir():
            raise BadInput(f"{self.name} is a file", expected="a folder for the Parquet parts", fix="name another")
        with disk_errors(self.folder / LOCK):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / LOCK).open("w")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise Refused(
                    f"another run is writing to {self.name}", fix="wait for it, or name another folder"
                ) from error
            self._clean()
            yield

    def _clean(self) -> None:
        """Removes half-written files of a run that was killed."""
        with suppress(OSError):
            for draft in self.folder.glob("**/.[!.]*.*"):
                if draft.is_file():
                    draft.unlink()

    def names(self, folder: str = "") -> list[str]:
        found = (self.folder / folder).glob("*" if folder else "**/*")
        return sorted(str(path.relative_to(self.folder)) for path in found if path.is_file())

    def read(self, name: str) -> bytes | None:
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        write_file(self.folder / name, content)

    def create(self, name: str, content: bytes) -> bool:
        draft = self.folder / f".{name}.{os.getpid()}"
        write_file(draft, content)
        try:
            os.link(draft, self.folder / name)  # whole, and only if there is none
        except FileExistsError:
            return False
        finally:
            draft.unlink()
        return True

    def delete(self, names: Iterable[str]) -> None:
        with disk_errors(self.folder):
            for name in names:
                (self.folder / name).unlink(missing_ok=True)


class BucketStore:
    """A put is whole or not there. There is no lock: parts of one plan are the same whoever writes them, and of two
    plans that begin at once S3 takes the first (`create` sends If-None-Match)."""

    RIGHT = "s3:ListBucket, s3:GetObject, s3:PutObject and s3:DeleteObject"

    def __init__(self, address: str) -> None:
        self._bucket, self._prefix = split_address(address)
        self.name = address.rstrip("/")
        if not self._prefix:
            raise BadInput(f"{address} is a whole bucket", expected="s3://bucket/prefix", fix="name a prefix in it")
        regions.check(address)

    @cached_property
    def _files(self) -> Any:
        return connect()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_files"}

    @contextmanager
    def _explained(self) -> Iterator[None]:
        from botocore.exceptions import NoCredentialsError

        try:
            with explained(self.name, self.RIGHT):
                yield
        except NoCredentialsError as error:
            raise MissingService(
                f"{self.name} may not be written to: there are no credentials",
                expected=f"credentials with {self.RIGHT} on it",
                fix="set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            ) from error

    @contextmanager
    def owned(self) -> Iterator[None]:
        with self._explained():
            self._files.ls(self._bucket)
        yield

    def _key(self, name: str) -> str:
        return f"{self._bucket}/{self._prefix}/{name}"

    def names(self, folder: str = "") -> list[str]:
        base = self._key("")
        with self._explained():
            found: list[str] = self._files.find(f"{base}{folder}")
        return sorted(key.removeprefix(base) for key in found if key.startswith(base))

    def read(self, name: str) -> bytes | None:
        from botocore.exceptions import ClientError

        with self._explained():
            try:
                return self._files.cat_file(self._key(name))  # type: ignore[no-any-return]
            except FileNotFoundError:
                return None
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in ("404", "NoSuchKey"):
                    return None
                raise

    def write(self, name: str, content: bytes) -> None:
        with self._explained():
            self._files.pipe_file(self._key(name), content)

    def create(self, name: str, content: bytes) -> bool:
        with self._explained():
            try:
                self._files.pipe_file(self._key(name), content, mode="create")
            except OSError as error:
                if not _exists(error):
                    raise
                return False
        return True

    def delete(self, names: Iterable[str]) -> None:
        keys = [self._key(name) for name in names]
        if keys:
            with self._explained():
                self._files.rm(keys)


def _exists(error: OSError) -> bool:
    """Whether S3 refused If-None-Match, for which s3fs has no error of its own (RFC 9110: 412)."""
    response = getattr(error.__cause__, "response", {})
    return isinstance(error, FileExistsError) or response.get("Error", {}).get("Code") in ("PreconditionFailed", "412")
