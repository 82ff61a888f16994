"""The files of a source, found by the names that label files use for them."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from registry.formats import text_files
from registry.vision.media_types import PICTURE_EXTENSIONS

UNSUPPORTED = (
    ".heic", ".heif", ".avif", ".jxl", ".jp2", ".ppm", ".pgm", ".psd", ".svg", ".raw", ".dng", ".cr2", ".nef", ".arw",
)  # fmt: skip
MAX_TEXT_BYTES = 1 << 30


def nfc(name: str) -> str:
    """Composes accented letters (NFC); macOS stores them decomposed (NFD)."""
    return unicodedata.normalize("NFC", name)


def caseless(name: str) -> str:
    return nfc(name).casefold()


def unquoted(name: str) -> str:
    """Decodes percent-encoding, which labelling programs in a browser leave in names."""
    try:
        return caseless(unquote(name, errors="strict"))
    except UnicodeDecodeError:
        return caseless(unquote(name, "cp1252", "replace"))


NAME_FORMS: tuple[Callable[[str], str], ...] = (str, nfc, caseless, unquoted)
"""Ways to compare names, from exact to lenient. A later one is tried only if the earlier ones match nothing."""


class Unreadable(ValueError):
    """A file of labels, names or splits that cannot be read. The message begins with the file's name."""


@contextmanager
def collect_unreadable(problems: list[str]) -> Iterator[None]:
    """Appends an Unreadable from the block to `problems` instead of raising it."""
    try:
        yield
    except Unreadable as error:
        problems.append(str(error))


class SourceFolder:
    """The files at or below a folder, without hidden ones and those that Windows and macOS add.

    Attributes:
        pictures: in supported formats.
        unsupported: pictures in other formats.
        unread: what is wrong with files that may hold labels, as sentences that begin with the file's name.
        encodings: files that are not UTF-8, by the encoding that they were read as.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        files = sorted(path for path in root.rglob("*") if path.is_file())
        self.files = [path for path in files if not any(_is_hidden(part) for part in path.relative_to(root).parts)]
        self.pictures = self.with_suffix(*PICTURE_EXTENSIONS)
        self.unsupported = self.with_suffix(*UNSUPPORTED)
        self.unread: list[str] = []
        self.encodings: dict[str, list[str]] = {}
        self._supported = set(self.pictures)
        self._paths = {self.relative(path): path for path in (*self.pictures, *self.unsupported)}
        self._indexes: dict[tuple[int, bool], dict[str, list[Path]]] = {}

    def with_suffix(self, *suffixes: str) -> list[Path]:
        return [path for path in self.files if path.suffix.lower() in suffixes]

    def relative(self, path: Path) -> str:
        """The path below the source, with forward slashes, as messages show it."""
        return path.relative_to(self.root).as_posix()

    def text(self, path: Path, score: text_files.Score = text_files.no_score, *, xml: bool = False) -> str:
        """A text file's content. `score`: see `text_files.decode`; `xml`: heed its declaration. Raises Unreadable."""
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise Unreadable(f"{self.relative(path)} is larger than {MAX_TEXT_BYTES >> 30} GiB")
        body = path.read_bytes()
        declared = text_files.xml_encoding(body) if xml else ""
        try:
            text = text_files.decode(body, score, declared)
        except text_files.Undecodable as error:
            declaration = f" (its XML declaration says {declared})" if declared else ""
            raise Unreadable(f"{self.relative(path)} {error}{declaration}") from error
        if text.encoding:
            self.encodings.setdefault(text.encoding, []).append(self.relative(path))
        return text.content

    def encoding_notes(self) -> list[str]:
        """For the user: which files are not UTF-8, and as what they were read."""
        return [
            f"not UTF-8, read as {encoding}: {first_few(sorted(set(names)), 3)}"
            for encoding, names in sorted(self.encodings.items())
        ]

    def is_supported(self, path: Path) -> bool:
        return path in self._supported

    def find(self, name: str, near: Path) -> Path | None:
        """The picture, in any format, that a label file in the folder `near` calls `name`.

        Looks at that path below `near`, its parent and the source's top; then for the only picture of that file name;
        then of that name without its extension. Of several, the one whose folders match most of the path counts. Case,
        composed accents and percent-encoding do not count where nothing matches exactly.
        """
        clean = name.replace("\\", "/").strip().strip("\"'").removeprefix("file://")
        if not clean.strip("./"):
            return None
        for base in (near, near.parent, self.root):
            if base.is_relative_to(self.root):
                at = posixpath.normpath(posixpath.join(self.relative(base), clean))
                if at in self._paths:
                    return self._paths[at]
        parts = [part for part in clean.split("/") if part not in ("", ".", "..")]
        for stems in (False, True):
            for level, form in enumerate(NAME_FORMS):
                found = self._index(level, stems).get(form(parts[-1]), [])
                found = [path for path in found if path in self._supported] or found
                if found:
                    return _closest(found, parts, form)
        return None

    def count_names(self, near: Path) -> text_files.Score:
        """A score for `text`: how many lines of a list, or cells of a table, in `near` are names of pictures."""

        def count(content: str) -> float:
            cells = (cell for line in content.splitlines()[:1000] for cell in re.split(r"[,;\t|<>]", line))
            return sum(any(char > "\x7f" for char in cell) and self.find(cell, near) is not None for cell in cells)

        return count

    def resolve(self, value: str, bases: Iterable[Path]) -> Path | None:
        """The folder or list of pictures that a path in a configuration file means here.

        Such paths are relative to the file or to its `path`, or absolute ones of another machine. The longest end of
        the path that exists below one of `bases` is taken.
        """
        parts = [part for part in value.replace("\\", "/").strip().split("/") if part not in ("", ".", "..")]
        known = {self.root, *self.files, *(above for path in self.files for above in path.parents)}
        for start in range(len(parts)):
            if start and parts[start:] == ["images"]:
                break  # every split has such a folder
            for base in bases:
                place = base.joinpath(*parts[start:])
                if place in known and place.is_relative_to(self.root):
                    return place
        return None

    def _index(self, level: int, stems: bool) -> dict[str, list[Path]]:
        """The pictures by their name in one of `NAME_FORMS`."""
        if (level, stems) not in self._indexes:
            index = self._indexes.setdefault((level, stems), {})
            for path in self._paths.values():
                index.setdefault(NAME_FORMS[level](path.stem if stems else path.name), []).append(path)
        return self._indexes[level, stems]


def _closest(paths: Sequence[Path], parts: Sequence[str], form: Callable[[str], str]) -> Path | None:
    """The path whose folders match most of `parts`, from the file upwards; None if two match equally."""

    def matching(path: Path) -> int:
        pairs = zip(reversed(path.parts[:-1]), reversed(parts[:-1]), strict=False)
        return next((n for n, (a, b) in enumerate(pairs) if form(a) != form(b)), len(parts) - 1)

    ranked = sorted(((matching(path), path) for path in paths), key=lambda pair: -pair[0])
    return ranked[0][1] if len(ranked) == 1 or ranked[0][0] > ranked[1][0] else None


def first_few(names: Sequence[str], count: int) -> str:
    """`a, b, c and 4 more`."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def _is_hidden(part: str) -> bool:
    return part.startswith(".") or part in ("__MACOSX", "Thumbs.db", "desktop.ini")
