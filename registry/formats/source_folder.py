"""The files of somebody's data set, found by the names that label files call them."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from urllib.parse import unquote_to_bytes

from registry.formats import text_files
from registry.vision.media_types import PICTURE_EXTENSIONS

UNTAKEN = (
    ".heic", ".heif", ".avif", ".jxl", ".jp2", ".ppm", ".pgm", ".psd", ".svg", ".raw", ".dng", ".cr2", ".nef", ".arw",
)  # fmt: skip
MOST_TEXT_BYTES = 1 << 30


def composed(name: str) -> str:
    """macOS keeps accents apart from their letters (NFD), other systems together (NFC)."""
    return unicodedata.normalize("NFC", name)


def caseless(name: str) -> str:
    return composed(name).casefold()


def unquoted(name: str) -> str:
    """Without percent encoding, which labelling programs in a browser leave in names."""
    raw = unquote_to_bytes(name)
    try:
        return caseless(raw.decode("utf-8"))
    except UnicodeDecodeError:
        return caseless(raw.decode("cp1252", "replace"))


SPELLINGS: tuple[Callable[[str], str], ...] = (str, composed, caseless, unquoted)
"""Ways to compare names, from exact to generous: a later one is asked only where the earlier found nothing."""


class Unreadable(ValueError):
    """A file of labels, names or splits that cannot be read; the message begins with the file's name."""


class Folder:
    """The files at or below a folder, without hidden ones and what Windows and macOS leave behind.

    Attributes:
        pictures: of the kinds that are taken.
        untaken: pictures of other kinds.
        unread: what is wrong with files that may have held labels, as sentences that begin with the file's name.
        encodings: files that are not UTF-8, by the encoding that they were read in.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        every = sorted(path for path in root.rglob("*") if path.is_file())
        self.files = [path for path in every if not any(_hidden(part) for part in path.relative_to(root).parts)]
        self.pictures = [path for path in self.files if path.suffix.lower() in PICTURE_EXTENSIONS]
        self.untaken = [path for path in self.files if path.suffix.lower() in UNTAKEN]
        self.unread: list[str] = []
        self.encodings: dict[str, list[str]] = {}
        self._taken = set(self.pictures)
        self._paths = {self.shown(path): path for path in (*self.pictures, *self.untaken)}
        self._known: dict[tuple[int, bool], dict[str, list[Path]]] = {}

    def kinds_untaken(self) -> Counter[str]:
        """Pictures of kinds that are not taken, by their ending."""
        return Counter(path.suffix.lower() for path in self.untaken)

    def with_suffix(self, *suffixes: str) -> list[Path]:
        return [path for path in self.files if path.suffix.lower() in suffixes]

    def shown(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def text(self, path: Path, witness: Callable[[str], float] | None = None) -> str:
        """A text file's content, as `texts.decode`. Raises Unreadable."""
        if path.stat().st_size > MOST_TEXT_BYTES:
            raise Unreadable(f"{self.shown(path)} is larger than {MOST_TEXT_BYTES >> 30} GiB")
        return self.decoded(path, path.read_bytes(), witness)

    def decoded(
        self, path: Path, body: bytes, witness: Callable[[str], float] | None = None, declared: str = ""
    ) -> str:
        """The same for a file's bytes that were read already."""
        try:
            text = text_files.decode(body, witness, declared)
        except text_files.Undecodable as error:
            raise Unreadable(f"{self.shown(path)} {error}") from error
        if text.encoding:
            self.encodings.setdefault(text.encoding, []).append(self.shown(path))
        return text.content

    def encoding_notes(self) -> list[str]:
        """For the answer: which files were not UTF-8, and as what they were read."""
        return [
            f"not UTF-8, read as {encoding}: {', '.join(names[:3])}"
            + (f" and {len(names) - 3} more" * (len(names) > 3))
            for encoding, names in sorted((name, sorted(set(files))) for name, files in self.encodings.items())
        ]

    def picture(self, name: str, near: Path) -> Path | None:
        """The picture that a label file in the folder `near` calls `name`: a path from there, from its parent or from
        the source's top; or else the only picture of that file name (with or without its ending), or the one whose
        folders agree with most of it. Case, composed accents and percent encoding do not count where nothing fits
        exactly."""
        found = self._find(name, near)
        return found if found in self._taken else None

    def is_untaken(self, name: str, near: Path) -> bool:
        """Whether that name is a picture of a kind that is not taken."""
        found = self._find(name, near)
        return found is not None and found not in self._taken

    def witness(self, near: Path) -> Callable[[str], float]:
        """For `text`: how many of a list's lines, or of the first cells of a table's, are pictures here."""

        def count(content: str) -> float:
            cells = (cell for line in content.splitlines()[:1000] for cell in re.split(r"[,;\t|<>]", line))
            return sum(any(char > "\x7f" for char in cell) and self._find(cell, near) is not None for cell in cells)

        return count

    def _find(self, name: str, near: Path) -> Path | None:
        clean = name.replace("\\", "/").strip().strip("\"'").removeprefix("file://")
        if not clean.strip("./"):
            return None
        for base in (near, near.parent, self.root):
            if base.is_relative_to(self.root):
                at = posixpath.normpath(posixpath.join(self.shown(base), clean))
                if at in self._paths:
                    return self._paths[at]
        parts = [part for part in clean.split("/") if part not in ("", ".", "..")]
        for stems in (False, True):
            for level, spelling in enumerate(SPELLINGS):
                found = self._by_name(level, stems).get(spelling(parts[-1]), [])
                taken = [path for path in found if path in self._taken] or found
                if taken:
                    return _closest(taken, parts, spelling)
        return None

    def _by_name(self, level: int, stems: bool) -> dict[str, list[Path]]:
        if (level, stems) not in self._known:
            index: dict[str, list[Path]] = {}
            for path in self._paths.values():
                index.setdefault(SPELLINGS[level](path.stem if stems else path.name), []).append(path)
            self._known[level, stems] = index
        return self._known[level, stems]


def _closest(paths: Sequence[Path], parts: Sequence[str], spelling: Callable[[str], str]) -> Path | None:
    """The one whose folders agree with most of the name's, from the file upwards; None if two agree equally."""

    def agreeing(path: Path) -> int:
        pairs = zip(reversed(path.parts[:-1]), reversed(parts[:-1]), strict=False)
        return next((n for n, (a, b) in enumerate(pairs) if spelling(a) != spelling(b)), len(parts) - 1)

    ranked = sorted(((agreeing(path), path) for path in paths), key=lambda one: -one[0])
    return ranked[0][1] if len(ranked) == 1 or ranked[0][0] > ranked[1][0] else None


def folder_or_list(folder: Folder, value: str, bases: Iterable[Path]) -> Path | None:
    """The folder or list of pictures that a path in somebody's configuration means here. Such paths are relative to
    the file, to its `path`, or whole ones of another machine: the longest end of it that is there counts."""
    parts = [part for part in value.replace("\\", "/").strip().split("/") if part not in ("", ".", "..")]
    known = {folder.root, *(above for path in folder.files for above in path.parents if above != folder.root)}
    files = set(folder.files)
    for start in range(len(parts)):
        if start and parts[start:] == ["images"]:
            break  # every part has such a folder
        for base in bases:
            place = base.joinpath(*parts[start:])
            if place in files or (place in known and place.is_relative_to(folder.root)):
                return place
    return None


def _hidden(part: str) -> bool:
    return part.startswith(".") or part in ("__MACOSX", "Thumbs.db", "desktop.ini")
