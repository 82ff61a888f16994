"""What every reader returns, and how names of splits and classes are matched."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from registry.cases.mask_labels import MaskLabel
from registry.cases.splits import split_from_folders
from registry.cases.yolo_labels import LabelBox
from registry.formats.source_folder import SourceFolder, caseless, nfc

_INVALID_IN_PATHS = re.compile(r'[\\/:*?"<>|\x00-\x1f\x7f]+')  # on one system or another
UNSUPPORTED_LABELS = "labels of pictures in unsupported formats left out"


@dataclass(frozen=True)
class SourceCase:
    """A picture of the source, with its label.

    Attributes:
        path: the picture.
        split: `train`, `val`, `test`, or "" if the source does not say.
        label: class, boxes, mask, or None without a label.
        size: width and height that the boxes refer to; (1, 1) if they are normalized by the upright picture's; None if
            unknown.
    """

    path: Path
    split: str = ""
    label: str | tuple[LabelBox, ...] | MaskLabel | None = None
    size: tuple[float, float] | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass
class ReadResult:
    """What a reader finds in a source.

    Attributes:
        format: its name, for the user.
        problems: what stops the import.
        notes: for the user.
        counts: for the user, as `3 crowd regions left out`.
        classes: the source's own names, in the order of their numbers; [] if it does not number them.
    """

    format: str
    cases: list[SourceCase] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    classes: list[str] = field(default_factory=list)

    @property
    def labelled(self) -> bool:
        return any(case.label is not None for case in self.cases)

    def find_picture(self, folder: SourceFolder, names: Sequence[str], near: Path, problem: str) -> Path | None:
        """The first of `names` that is a supported picture. Without one, counts the label if its picture is in an
        unsupported format, and else adds `problem`. `near`: the label file's folder."""
        found = [path for name in names if (path := folder.find(name, near)) is not None]
        picture = next(filter(folder.is_supported, found), None)
        if picture is None and found:
            self.counts[UNSUPPORTED_LABELS] += 1
        elif picture is None:
            self.problems.append(problem)
        return picture

    def add_unlabelled(self, folder: SourceFolder, labelled: Container[Path]) -> None:
        """Adds the pictures that are not in `labelled`."""
        rest = (path for path in folder.pictures if path not in labelled)
        self.cases += [SourceCase(path, split_from_folders(path, folder.root)) for path in rest]


def name_key(name: str) -> str:
    """Equal for names that differ only in case, spaces, dashes and underscores: `Yellow Vest` and `yellow_vest`."""
    name = caseless(name)
    return re.sub(r"[\W_]+", "", name) or name


class ClassMatcher:
    """Finds the model's class for a class name of the source.

    Args:
        classes: the model's; None if they are open: every name is a class.
        renamed: the source's names -> the model's classes, where they differ by more than case and separators.

    Attributes:
        unmatched: how often each name was looked up that is not a class.
        respelt: open classes that differ only in case and separators: (another spelling, the class's name).
    """

    def __init__(self, classes: Sequence[str] | None, renamed: Mapping[str, str]) -> None:
        self._open = classes is None
        self._known = {name_key(name): name for name in classes or ()}
        self._renamed = {name_key(name): target for name, target in renamed.items()}
        self._spellings: dict[str, str] = {}
        self.unmatched: Counter[str] = Counter()
        self.respelt: set[tuple[str, str]] = set()

    def match(self, name: str) -> str | None:
        """The model's class of that name. Counts the name and returns None if there is none."""
        name = str(name).strip()
        target = self._renamed.get(name_key(name), name)
        found = self._match_open(target) if self._open else self._known.get(name_key(target))
        if not found:
            self.unmatched[name] += 1
        return found or None

    def _match_open(self, name: str) -> str:
        """The first spelling of this name: on some disks, `Apple` and `apple` are one folder."""
        clean = nfc(_INVALID_IN_PATHS.sub("-", name).strip(". "))
        found = self._spellings.setdefault(re.sub(r"[\s_-]+", "", clean.casefold()) or clean, clean)
        if found != clean:
            self.respelt.add((clean, found))
        return found

    def is_known(self, name: str) -> bool:
        """Whether a model with fixed classes has a class of that name."""
        return not self._open and name_key(self._renamed.get(name_key(name), name)) in self._known

    def count_names(self, text: str) -> float:
        """A score for `SourceFolder.text`: how many known class names the text holds."""
        return sum(self.is_known(word) for word in re.split(r"[\n,:\[\]'\"]+", text) if word.strip())
