"""What a source is: a place that lists files and reads them. Driver and workers of a cluster each have a copy."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol


class Item(NamedTuple):
    """A file in a listing.

    Attributes:
        path: relative to the source.
        size: in bytes; 0 where only reading tells.
        stamp: changes when the content may have changed.
        given: the label that the source itself has for it.
    """

    path: str
    size: int
    stamp: str
    given: str | None = None

    @property
    def label(self) -> str | None:
        """What the source says, else the name of its folder. None directly in the source."""
        folder, _, _ = self.path.rpartition("/")
        return self.given or folder.rpartition("/")[2] or None


@dataclass(frozen=True)
class Listing:
    """All files of a source that a model can take, in the order of their rows. `others`: files with other endings."""

    items: tuple[Item, ...]
    others: int

    @cached_property
    def digest(self) -> str:
        """sha256 over paths, sizes, stamps and given labels."""
        found = hashlib.sha256()
        for item in self.items:
            found.update(os.fsencode(f"{item.path}\0{item.size}\0{item.stamp}\0{item.given or ''}\n"))
        return found.hexdigest()


class Source(Protocol):
    """A place with files. Each worker reads through a copy of its own."""

    name: str

    def find(self, endings: Sequence[str]) -> Listing:
        """The files with one of these endings (lower case, with the dot). Raises BadInput, MissingService."""

    def read(self, items: Sequence[Item]) -> list[bytes | str]:
        """For each item its bytes, or why it could not be read, in words."""


def as_listing(found: Iterable[tuple[str, int, str]], endings: Sequence[str]) -> Listing:
    """Sorts (path, size, stamp) by path, and counts those with other endings."""
    items, others = [], 0
    for path, size, stamp in found:
        if path.lower().endswith(tuple(endings)):
            items.append(Item(path, size, stamp))
        else:
            others += 1
    return Listing(tuple(sorted(items)), others)


def too_large(size: int, most_bytes: int) -> str | None:
    """Why a file of `size` bytes is not read; None if it is."""
    if size <= most_bytes:
        return None
    return f"the file has {size / 2**20:.0f} MiB (allowed: {most_bytes / 2**20:.0f})"
