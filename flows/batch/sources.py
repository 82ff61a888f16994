"""Lists and reads pictures in a folder, or in a bucket of S3 or a service with its protocol."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from registry.core.errors import BadInput, MissingService, VisionloopError, first_line

S3 = "s3://"


class Item(NamedTuple):
    """A picture in a listing. `path`: relative to the source. `stamp`: changes when the content may have changed."""

    path: str
    size: int
    stamp: str

    @property
    def label(self) -> str | None:
        """The name of its folder. None directly in the source."""
        folder, _, _ = self.path.rpartition("/")
        return folder.rpartition("/")[2] or None


@dataclass(frozen=True)
class Listing:
    """All pictures of a source, sorted by path. `others`: files whose ending is not a picture's."""

    items: tuple[Item, ...]
    others: int

    @cached_property
    def digest(self) -> str:
        """sha256 over paths, sizes and stamps."""
        found = hashlib.sha256()
        for item in self.items:
            found.update(os.fsencode(f"{item.path}\0{item.size}\0{item.stamp}\n"))
        return found.hexdigest()


class Source(Protocol):
    """A place with pictures. Safe to use from several threads."""

    name: str

    def find(self, endings: Sequence[str]) -> Listing:
        """The files with one of these endings (lower case, with the dot). Raises BadInput, MissingService."""

    def read(self, items: Sequence[Item]) -> list[bytes | str]:
        """For each item its bytes, or why it could not be read, in words."""


def open_source(where: str, most_bytes: int) -> Source:
    """Opens `s3://bucket/prefix` or a folder. `most_bytes`: larger files are not read.

    Raises:
        BadInput: the folder does not exist, or the address names no bucket.
    """
    if where.startswith(S3):
        return Bucket(where, most_bytes)
    if "://" in where:
        raise BadInput(f"{where} is an address of another kind", expected="a folder or s3://bucket/prefix")
    return Folder(Path(where), most_bytes)


def _listing(found: Iterable[tuple[str, int, str]], endings: Sequence[str]) -> Listing:
    items, others = [], 0
    for path, size, stamp in found:
        if path.lower().endswith(tuple(endings)):
            items.append(Item(path, size, stamp))
        else:
            others += 1
    return Listing(tuple(sorted(items)), others)


def _too_large(item: Item, most_bytes: int) -> str | None:
    if item.size <= most_bytes:
        return None
    return f"the file has {item.size / 2**20:.0f} MiB (allowed: {most_bytes / 2**20:.0f})"


class Folder:
    """A folder with all below it. Leaves out hidden files and folders, and does not follow links to folders."""

    def __init__(self, root: Path, most_bytes: int) -> None:
        if not root.is_dir():
            raise BadInput(
                f"there is no folder {root}", expected="a folder of pictures, or s3://bucket/prefix", fix="correct it"
            )
        self.root, self.name, self._most = root.resolve(), str(root.resolve()), most_bytes

    def find(self, endings: Sequence[str]) -> Listing:
        return _listing(self._walk(), endings)

    def _walk(self) -> Iterator[tuple[str, int, str]]:
        def refuse(error: OSError) -> None:
            raise BadInput(
                f"{error.filename} cannot be listed: {error.strerror}", fix="fix its rights, or move it elsewhere"
            ) from error

        for folder, below, names in os.walk(self.root, onerror=refuse):
            below[:] = [name for name in below if not name.startswith(".")]
            for name in names:
                path = Path(folder, name)
                # Regular files only: reading a pipe could wait for ever.
                if not name.startswith(".") and path.is_file():
                    about = path.stat()
                    yield path.relative_to(self.root).as_posix(), about.st_size, str(about.st_mtime_ns)

    def read(self, items: Sequence[Item]) -> list[bytes | str]:
        return [_too_large(item, self._most) or self._read(item) for item in items]

    def _read(self, item: Item) -> bytes | str:
        try:
            return (self.root / item.path).read_bytes()
        except OSError as error:
            return f"cannot be read: {error.strerror or error}"


class Bucket:
    """A prefix of a bucket, through s3fs.

    Credentials, region and address come from where every AWS program looks (AWS_PROFILE, AWS_ACCESS_KEY_ID,
    AWS_ENDPOINT_URL, an instance's role, ...). Without credentials it asks anonymously.
    """

    def __init__(self, address: str, most_bytes: int) -> None:
        bucket, _, prefix = address.removeprefix(S3).partition("/")
        if not bucket:
            raise BadInput(f"{address} names no bucket", expected="s3://bucket/prefix")
        self.name = address.rstrip("/")
        self._bucket, self._prefix, self._most = bucket, prefix.strip("/"), most_bytes
        self._files = self._connect(anonymous=False)

    def _connect(self, anonymous: bool) -> Any:
        import s3fs

        # One request per object: with several, s3fs would first ask for its size.
        return s3fs.S3FileSystem(anon=anonymous, skip_instance_cache=True, use_listings_cache=False, max_concurrency=1)

    @property
    def _base(self) -> str:
        return f"{self._bucket}/{self._prefix}" if self._prefix else self._bucket

    def find(self, endings: Sequence[str]) -> Listing:
        from botocore.exceptions import NoCredentialsError

        def ask() -> dict[str, dict[str, Any]]:
            return self._files.find(self._base, detail=True)  # type: ignore[no-any-return]

        try:
            found = self._explained(ask)
        except NoCredentialsError:
            self._files = self._connect(anonymous=True)
            found = self._explained(ask)
        if not found:
            # `find` returns nothing for a bucket that does not exist or must not be listed.
            self._explained(lambda: self._files.ls(self._bucket))
        base = self._base + "/"
        return _listing(
            (
                (key.removeprefix(base), int(about["size"]), str(about.get("ETag", "")).strip('"'))
                for key, about in found.items()
                if key.startswith(base) and not any(p.startswith(".") for p in key.removeprefix(base).split("/"))
            ),
            endings,
        )

    def read(self, items: Sequence[Item]) -> list[bytes | str]:
        """Reads all at once: latency, not bandwidth, is the cost of a bucket."""
        wanted = [item for item in items if item.size <= self._most]
        # `cat_ranges` takes names as they are; `cat` would take brackets and stars as patterns.
        got = self._files.cat_ranges([f"{self._base}/{item.path}" for item in wanted], None, None, on_error="return")
        bodies = dict(zip(wanted, got, strict=True))
        return [_too_large(item, self._most) or _body(bodies[item]) for item in items]

    def _explained(self, ask: Callable[[], Any]) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        try:
            return ask()
        except NoCredentialsError:
            raise
        except FileNotFoundError as error:
            raise BadInput(f"there is no bucket {self._bucket}", fix="correct its name") from error
        except PermissionError as error:
            raise MissingService(
                f"{self.name} may not be listed: {_first_line(error)}",
                expected="credentials with s3:ListBucket and s3:GetObject on it",
                fix="set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            ) from error
        except (BotoCoreError, ClientError, OSError) as error:
            raise MissingService(
                f"{self.name} does not answer: {_first_line(error)}",
                expected="S3, or what AWS_ENDPOINT_URL names",
                fix="correct the address or the region, or try again",
            ) from error


def _body(got: bytes | Exception) -> bytes | str:
    if isinstance(got, bytes):
        return got
    return f"cannot be read: {_first_line(got)}"


def _first_line(error: BaseException) -> str:
    if isinstance(error, VisionloopError):
        return error.found
    return first_line(error)[:200]
