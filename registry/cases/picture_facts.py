"""Facts about pictures, cached by the hash of their bytes: each picture is decoded once."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType

import cv2
import numpy as np

from registry.core.errors import BadInput
from registry.core.files import disk_errors
from registry.core.media import MAX_CASE_PIXELS, Picture
from registry.core.settings import settings
from registry.vision import headers, look_alikes, picture

MAX_ROWS = 50_000
"""Rows in the cache, some 6 KB each. The oldest are deleted, and their pictures decoded again."""

_ROWS_PER_WRITE = 256
_VERSION = 1  # of the rows' meaning; a cache of another version is deleted
_CHANNELS = {"1": 1, "L": 1, "I": 1, "F": 1, "I;16": 1, "I;16B": 1, "LA": 2, "RGBA": 4, "CMYK": 4}


@dataclass(frozen=True, eq=False)
class PictureFacts:
    """Facts about a picture. `problem` is "" if it can be read.

    Attributes:
        width, height: of the upright picture, in pixels.
        channels: as stored; 1: grey, 2: grey with transparency, 3: colour, 4: colour with transparency, or CMYK.
        contrast: standard deviation of the grey values, 0..255.
        content: a hash of the pixels, the same in every file format.
        fingerprint: see `registry.vision.look_alikes`.
    """

    problem: str
    width: int = 0
    height: int = 0
    channels: int = 0
    contrast: float = float("nan")
    content: str = ""
    fingerprint: look_alikes.Fingerprint | None = None


class PictureFactsCache:
    """Reads facts about pictures, from any thread. A context manager. Without a usable cache it only takes longer."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or settings().var / "looks.db"
        self._lock = Lock()
        self._rows: sqlite3.Connection | None = None
        self._new: list[tuple[object, ...]] = []

    def __enter__(self) -> PictureFactsCache:
        with disk_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._rows = sqlite3.connect(self._path, timeout=10, check_same_thread=False, isolation_level=None)
            if self._rows.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                self._rows.executescript(f"DROP TABLE IF EXISTS look; PRAGMA user_version = {_VERSION}")
            self._rows.execute(
                "CREATE TABLE IF NOT EXISTS look (digest BLOB PRIMARY KEY, width INT, height INT, channels INT, "
                "contrast REAL, content TEXT, bits BLOB, thumb BLOB)"
            )
        except sqlite3.Error:  # damaged: the next call creates it again
            self._close()
            self._path.unlink(missing_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._flush()
        self._query(f"DELETE FROM look WHERE rowid <= (SELECT max(rowid) FROM look) - {MAX_ROWS}")
        self._close()

    def at(self, body: bytes) -> PictureFacts:
        """The facts about a picture file's bytes. Raises BadInput if it is not a picture, or too large."""
        digest = hashlib.sha256(body).digest()
        found = self._query("SELECT * FROM look WHERE digest = ?", (digest,))
        if found:
            return _from_row(found[0])
        facts = facts_of(picture.decode(body, MAX_CASE_PIXELS), headers.read(body).mode)
        with self._lock:
            self._new.append((digest, *_row(facts)))
        if len(self._new) >= _ROWS_PER_WRITE:
            self._flush()
        return facts

    def at_file(self, path: Path) -> PictureFacts:
        """The facts about a file. `problem` says why it cannot be read."""
        try:
            return self.at(path.read_bytes())
        except OSError:
            return PictureFacts(f"{path.name} is missing or unreadable")
        except BadInput as error:
            return PictureFacts(f"{path.name}: {error.found}")

    def at_files(self, paths: Sequence[Path], threads: int) -> list[PictureFacts]:
        """The facts about files, in order. Decodes `threads` at once, and keeps no picture."""
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(self.at_file, paths))

    def _flush(self) -> None:
        """Writes the new rows in one transaction. One for each would cost more than decoding a small picture."""
        with self._lock:
            rows, self._new = self._new, []
            if self._rows is None or not rows:
                return
            try:
                self._rows.execute("BEGIN IMMEDIATE")
                self._rows.executemany("INSERT OR IGNORE INTO look VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
                self._rows.execute("COMMIT")
            except sqlite3.Error:
                self._close()

    def _query(self, statement: str, values: Sequence[object] = ()) -> list[tuple[object, ...]]:
        with self._lock:
            if self._rows is None:
                return []
            try:
                return self._rows.execute(statement, values).fetchall()
            except sqlite3.Error:  # full, damaged or locked for long: it is a cache
                self._close()
                return []

    def _close(self) -> None:
        if self._rows is not None:
            self._rows.close()
            self._rows = None


def facts_of(seen: Picture, mode: str) -> PictureFacts:
    """The facts about a decoded picture. `mode`: PIL's name of its stored pixel layout."""
    grey = cv2.cvtColor(seen.pixels, cv2.COLOR_BGR2GRAY)
    contrast = float(cv2.meanStdDev(grey)[1].item())  # NumPy's would take eight bytes a pixel, in every thread
    fingerprint = look_alikes.fingerprint(seen.pixels)
    return PictureFacts("", seen.width, seen.height, _CHANNELS.get(mode, 3), contrast, content_of(seen), fingerprint)


def content_of(seen: Picture) -> str:
    """A hash of the pixels, the same in every file format."""
    digest = hashlib.sha256(f"{seen.width}x{seen.height}".encode())
    digest.update(np.ascontiguousarray(seen.pixels).data)
    return digest.hexdigest()[:16]


def _row(facts: PictureFacts) -> tuple[object, ...]:
    fingerprint = facts.fingerprint
    assert fingerprint is not None
    bits, thumb = fingerprint.bits.to_bytes(8, "big"), fingerprint.thumb.tobytes()
    return facts.width, facts.height, facts.channels, facts.contrast, facts.content, bits, thumb


def _from_row(row: Sequence[object]) -> PictureFacts:
    _, width, height, channels, contrast, content, bits, thumb = row
    assert isinstance(bits, bytes)
    assert isinstance(thumb, bytes)
    fingerprint = look_alikes.Fingerprint(int.from_bytes(bits, "big"), np.frombuffer(thumb, np.float16))
    return PictureFacts("", width, height, channels, contrast, content, fingerprint)  # type: ignore[arg-type]
