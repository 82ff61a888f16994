"""What readers of other people's data share: what they found, splits by name, classes matched by name."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from registry.cases.splits import SPLITS
from registry.cases.yolo_labels import LabelBox

_SPLIT = re.compile(r"(train|training|val|valid|validation|test|testing)[_-]?\d{0,4}", re.IGNORECASE)
_UNFIT = re.compile(r'[\\/:*?"<>|\x00-\x1f\x7f]+')  # in the name of a folder, on one system or another

UNTAKEN_LABELS = "labels of pictures of kinds that are not taken left out"
"""A key of `Reading.counts`."""


@dataclass(frozen=True)
class FoundCase:
    """A picture of the source, and what the source says of it.

    Attributes:
        path: the picture.
        split: `train`, `val`, `test`, or "" where the source does not say.
        label: class, boxes, or None without a label.
        size: width and height that the boxes refer to; (1, 1) for shares of the upright picture; None if not said.
    """

    path: Path
    split: str = ""
    label: str | tuple[LabelBox, ...] | None = None
    size: tuple[float, float] | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Reading:
    """What a reader makes of a source: `layout` names the format, `problems` stop the import, `notes` are told, and
    `counts` are told as `3 crowd regions left out`."""

    layout: str
    found: list[FoundCase] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def labelled(self) -> bool:
        return any(one.label is not None for one in self.found)


def split_named(text: str) -> str:
    """`train`, `val`, `test` or "" for a folder's name, a file's stem or a table's cell."""
    match = _SPLIT.fullmatch(text.strip())
    return "" if match is None else next(split for split in SPLITS if match[1].lower().startswith(split))


def split_in_stem(stem: str) -> str:
    """`instances_val2017` -> `val`."""
    return next(filter(None, (split_named(part) for part in re.split(r"[_.\-]", stem))), "")


def split_of(path: Path, root: Path) -> str:
    """From the names of the folders above, the topmost that is one."""
    return next(filter(None, (split_named(part) for part in path.relative_to(root).parts[:-1])), "")


def plain(name: str) -> str:
    """`Yellow Vest`, `yellow-vest` and `yellow_vest` are one name."""
    name = unicodedata.normalize("NFC", name).casefold()
    return re.sub(r"[\W_]+", "", name) or name


class Names:
    """The model's classes, found by other people's names for them.

    Args:
        classes: the model's; None: every name is a class.
        renamed: the source's names -> the model's classes, where they differ by more than case and separators.
    """

    def __init__(self, classes: Sequence[str] | None, renamed: Mapping[str, str]) -> None:
        self._open = classes is None
        self._known = {plain(name): name for name in classes or ()}
        self._spelt: dict[str, str] = {}
        self.merged: set[tuple[str, str]] = set()
        """Open classes that differ in case and separators alone: (as it is spelt elsewhere, the class's name)."""
        self._renamed = {plain(name): target for name, target in renamed.items()}
        self.dropped: Counter[str] = Counter()

    def match(self, name: str) -> str | None:
        """The model's class of that name; None (and counted) if it has none."""
        name = str(name).strip()
        target = self._renamed.get(plain(name), name)
        found = self._opened(target) if self._open else self._known.get(plain(target))
        if not found:
            self.dropped[name] += 1
        return found or None

    def _opened(self, name: str) -> str:
        """The first spelling of this name: `Apple` and `apple` would be one folder on some disks."""
        clean = unicodedata.normalize("NFC", _UNFIT.sub("-", name).strip(". "))
        found = self._spelt.setdefault(re.sub(r"[\s_-]+", "", clean.casefold()) or clean, clean)
        if found != clean:
            self.merged.add((clean, found))
        return found

    def knows(self, name: str) -> bool:
        return not self._open and plain(self._renamed.get(plain(name), name)) in self._known
