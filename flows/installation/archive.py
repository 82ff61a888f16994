"""A backup on disk: a tar or a folder, with a manifest that names the sha256 of every file.

The manifest is written last, and the whole gets its name only then: what has the name is complete.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol, cast

from registry.core.errors import BadInput, NotFound, Refused, first_line
from registry.core.files import disk_errors

FORMAT = 1
MANIFEST = "manifest.json"
_PIECE = 2**20
_MEMORY = 2**26
"""A tar wants a file's size first, and a file may grow meanwhile: it is copied aside, to disk if it is larger."""


@dataclass(frozen=True)
class Entry:
    """A file of a backup. `mode`: its rights; `mtime_ns`: retention goes by it."""

    sha256: str
    size: int
    mode: int
    mtime_ns: int


@dataclass
class Manifest:
    """What a backup says of itself.

    Attributes:
        var: the folder that it was made of, whose path MLflow may have noted.
        migrations: "app.name" of each that the operational database had.
        mlflow: the schema of MLflow's database; "" without one.
        tables: table -> rows, of the operational database.
        keys: ids of the encryption keys that its files need; `has_keys`: whether they are in it.
        elsewhere: what is not in it, because a setting says that it is kept elsewhere.
    """

    created: str
    program: str
    var: str
    migrations: list[str]
    mlflow: str
    tables: dict[str, int]
    keys: list[str]
    has_keys: bool
    elsewhere: list[str]
    format: int = FORMAT
    files: dict[str, Entry] = field(default_factory=dict)

    def to_json(self) -> str:
        facts = asdict(self)
        return json.dumps({**facts, "sha256": _digest(facts)}, indent=1, sort_keys=True) + "\n"


class Writer(Protocol):
    """Takes the files of a backup."""

    files: dict[str, Entry]

    def add(self, name: str, path: Path) -> None:
        """Copies a file; leaves it out if it is gone meanwhile."""


class _Folder:
    def __init__(self, root: Path) -> None:
        self.root, self.files = root, dict[str, Entry]()

    def add(self, name: str, path: Path) -> None:
        target = self.root / name
        try:
            source = path.open("rb")
        except FileNotFoundError:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with source, target.open("wb") as out:
            self.files[name] = _copied(source, out)

    def finish(self, manifest: str) -> None:
        (self.root / MANIFEST).write_text(manifest, encoding="utf-8")


class _Tar:
    def __init__(self, root: Path) -> None:
        self.files, self._root = dict[str, Entry](), root
        self._tar = tarfile.open(root, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 (`finish` closes it)

    def add(self, name: str, path: Path) -> None:
        with tempfile.SpooledTemporaryFile(_MEMORY, dir=str(self._root.parent)) as aside:
            try:
                with path.open("rb") as source:
                    entry = _copied(source, cast(IO[bytes], aside))
            except FileNotFoundError:
                return
            aside.seek(0)
            self._write(name, cast(IO[bytes], aside), entry.size, entry.mtime_ns // 10**9)
            self.files[name] = entry

    def finish(self, manifest: str) -> None:
        raw = manifest.encode()
        self._write(MANIFEST, io.BytesIO(raw), len(raw), 0)
        self._tar.close()

    def _write(self, name: str, content: IO[bytes], size: int, mtime: int) -> None:
        about = tarfile.TarInfo(name)
        about.size, about.mtime, about.mode = size, mtime, 0o600
        self._tar.addfile(about, content)


def _copied(source: IO[bytes], out: IO[bytes]) -> Entry:
    about, digest, size = os.fstat(source.fileno()), hashlib.sha256(), 0
    while piece := source.read(_PIECE):
        digest.update(piece)
        out.write(piece)
        size += len(piece)
    return Entry(digest.hexdigest(), size, about.st_mode & 0o777, about.st_mtime_ns)


@contextmanager
def writing(to: Path, var: Path) -> Iterator[tuple[Writer, list[Manifest]]]:
    """Yields what takes the files, and an empty list that gets the manifest. `to` exists only after that.

    Raises:
        Refused: there is something already, or it is inside `var`.
        StorageError: the disk is full, or `to` cannot be written.
    """
    to = to.absolute()
    if to.resolve().is_relative_to(var):
        raise Refused(f"{to} is inside {var}, which is backed up", expected="a place outside", fix="name another")
    if to.is_file() or (to.is_dir() and any(to.iterdir())):
        raise Refused(f"{to} exists already", expected="a new file or folder, or an empty one", fix="name another")
    draft = to.with_name(f".{to.name}.{os.getpid()}")
    try:
        with disk_errors(to):
            to.parent.mkdir(parents=True, exist_ok=True)
            manifest: list[Manifest] = []
            handle = os.umask(0o077)  # it has keys, and the database of accounts
            try:
                if to.suffix != ".tar":
                    draft.mkdir()
                out = _Tar(draft) if to.suffix == ".tar" else _Folder(draft)
            finally:
                os.umask(handle)
            yield out, manifest
            manifest[0].files = out.files
            out.finish(manifest[0].to_json())
            os.sync()
            if to.is_dir():
                to.rmdir()
            os.rename(draft, to)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        draft.unlink(missing_ok=True)


class Backup:
    """A backup that somebody made. Opening it reads the manifest only.

    Raises:
        NotFound: there is nothing.
        BadInput: it is incomplete, damaged, or something else.
        Refused: a newer version of this program made it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise NotFound(f"there is no backup {path}", expected="what `visionloop backup` has made", fix="correct it")
        self.manifest = self._read_manifest()

    def _read_manifest(self) -> Manifest:
        try:
            with self._opened() as stored:
                facts = json.loads(stored.read(MANIFEST))
        except (KeyError, FileNotFoundError, tarfile.TarError, EOFError) as error:
            raise BadInput(
                f"{self.path} is not a whole backup: it has no manifest, which is written last",
                expected="what `visionloop backup` has finished",
                fix="take another one; this may have been cut off",
            ) from error
        except ValueError as error:
            raise self._damaged(f"its manifest is not JSON: {first_line(error)}") from error
        if not isinstance(facts, dict) or not isinstance(facts.get("format"), int):
            raise self._damaged("its manifest is something else")
        if facts["format"] > FORMAT:
            raise Refused(
                f"{self.path} was made by a newer visionloop ({facts.get('program')}), in format {facts['format']}",
                expected=f"format {FORMAT} or older",
                fix="restore it with that version, or a newer one",
            )
        if facts.pop("sha256", "") != _digest(facts):
            raise self._damaged("its manifest was changed")
        files = {name: Entry(**entry) for name, entry in facts.pop("files").items()}
        if any(not _is_inside(name) for name in files):
            raise self._damaged("it has a file outside of itself")
        return Manifest(**facts, files=files)

    def _damaged(self, why: str) -> BadInput:
        return BadInput(f"{self.path} is damaged: {why}", expected="a backup as it was written", fix="take another one")

    @contextmanager
    def _opened(self) -> Iterator[_Stored]:
        if self.path.is_dir():
            yield _Stored(None, self.path)
        else:
            with tarfile.open(self.path, "r:") as tar:
                yield _Stored(tar, self.path)

    def extract(self, folder: Path) -> Iterator[int]:
        """Writes all files into a folder and checks each. Yields the bytes of each. Raises BadInput, StorageError."""
        with disk_errors(folder), self._opened() as stored:
            for name, entry in self.manifest.files.items():
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    with stored.open(name) as source, target.open("wb") as out:
                        size, digest = 0, hashlib.sha256()
                        while piece := source.read(_PIECE):
                            digest.update(piece)
                            size += out.write(piece)
                except (KeyError, FileNotFoundError, tarfile.TarError, EOFError) as error:
                    raise self._damaged(f"{name} is missing") from error
                if (size, digest.hexdigest()) != (entry.size, entry.sha256):
                    raise self._damaged(f"{name} has other bytes than its manifest says")
                target.chmod(entry.mode)
                os.utime(target, ns=(entry.mtime_ns, entry.mtime_ns))
                yield entry.size


class _Stored:
    """Opens files of a tar, or of a folder, by name."""

    def __init__(self, tar: tarfile.TarFile | None, folder: Path) -> None:
        self._tar, self._folder = tar, folder

    def open(self, name: str) -> IO[bytes]:
        if self._tar is None:
            return (self._folder / name).open("rb")
        found = self._tar.extractfile(name)
        if found is None:
            raise KeyError(name)
        return found

    def read(self, name: str) -> bytes:
        with self.open(name) as file:
            return file.read()


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\\" not in name


def _digest(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
