"""The class names of other people's data, for a model that is yet to be written."""

from __future__ import annotations

from pathlib import Path

from registry.cases.yolo_labels import LabelBox
from registry.core import archives
from registry.core.errors import DataError
from registry.datasets.importing import LAYOUTS
from registry.formats import boxes as box_formats
from registry.formats import classes as class_formats
from registry.formats import masks as mask_formats
from registry.formats.source_folder import SourceFolder
from registry.formats.sources import ClassMatcher, ReadResult


def read_class_names(source: Path, labels: str) -> tuple[list[str], str]:
    """The classes of a folder or zip, and what they were read as.

    They are in the order in which the source numbers them, also those without a picture; in a source without numbers
    they are those of its labels, by the alphabet.

    Args:
        labels: their kind, a key of `LAYOUTS`.

    Raises:
        DataError: it names no class, or is not a folder or zip.
    """
    archives.check_source(source)
    with archives.as_folder(source) as root:
        folder, matcher = SourceFolder(root), ClassMatcher(None, {})
        found = _read(folder, matcher, labels)
    names = found.classes or sorted({name for case in found.cases for name in _names(case.label)}, key=str.casefold)
    matched = dict.fromkeys(name for one in names if (name := matcher.match(one)))
    if not matched:
        masks = "a classes.txt beside the masks, which hold numbers only" if labels == "masks" else LAYOUTS[labels]
        raise DataError(
            f"{source} names no class" + "".join(f"\n  {text}" for text in [*folder.unread, *found.problems][:5]),
            expected=masks,
            fix="name the folder that holds the pictures and their labels, or give the names: --classes a,b,c",
        )
    return list(matched), found.format


def _read(folder: SourceFolder, matcher: ClassMatcher, labels: str) -> ReadResult:
    if labels == "masks":
        return ReadResult("a list of classes", classes=mask_formats.listed_classes(folder))
    read = class_formats.read(folder, matcher) if labels == "classes" else box_formats.read(folder, matcher, ())
    return read or ReadResult("no known format")


def _names(label: object) -> list[str]:
    if isinstance(label, str):
        return [label]
    return [box.name for box in label if isinstance(box, LabelBox)] if isinstance(label, tuple) else []
