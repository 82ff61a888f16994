"""Data sets of pictures on disk: class folders, YOLO's images and labels, or images and masks; all with `cases.csv`.

    ClassSet                             BoxSet                                 MaskSet
    {train,val,test}/<class>/<case>.jpg  images/{train,val,test}/<case>.jpg     images/{train,val,test}/<case>.jpg
    classes.txt (open classes only)      labels/{train,val,test}/<case>.txt     masks/{train,val,test}/<case>.png
    cases.csv                            data.yaml, cases.csv                   classes.txt, cases.csv

A line of a label is `class cx cy w h`, normalized. A value of a mask is 0 or the number of a class, from 1 on.

`registry.vision_tasks` makes one of them for an ordinary model, with the generator in its `scenes.py` if there is one.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import yaml

from registry.cases import expectations, inspection, mask_labels, table, yolo_labels
from registry.cases.inspection import label_path
from registry.cases.mask_labels import mask_path
from registry.cases.records import Check, LabelledInput
from registry.cases.splits import SPLITS
from registry.cases.table import Row
from registry.core.errors import DataError
from registry.core.files import write_file
from registry.datasets.picture_set import Example, Generator, PictureSet, upright_size
from registry.vision.media_types import extension_of

if TYPE_CHECKING:
    import pandas as pd


NAMES, CLASSES = "data.yaml", "classes.txt"


class ClassSet(PictureSet):
    """Pictures with one class each, in class folders; `Case.truth` and `Labelled.truth` are the class's name.

    `open_classes`: the data defines the classes, not the model. An import may bring its own, and `classes.txt`
    lists them in order.
    """

    labels = "classes"

    def __init__(
        self,
        model: str,
        classes: Sequence[str],
        make: Generator | None = None,
        *,
        open_classes: bool = False,
    ) -> None:
        super().__init__(model, classes, make)
        self.open_classes = open_classes
        if open_classes:
            self.fixed_classes = None

    def classes(self, root: Path) -> tuple[str, ...]:
        """The model's classes; where they are open, those of `classes.txt`, or else of the folders."""
        if not self.open_classes:
            return self._classes
        path = root / CLASSES
        if not path.is_file():
            return tuple(sorted({_folder(row) for row in table.read(root, self.model)}))
        return _read_classes(path)

    def own_classes(self, root: Path) -> tuple[str, ...] | None:
        return self.classes(root) if self.open_classes else None

    def inspect(self, root: Path) -> pd.DataFrame:
        return inspection.class_table(root, table.read(root, self.model), self.classes(root))

    def checks(self) -> Sequence[Check]:
        return expectations.for_classes(self.model, None if self.open_classes else self._classes)

    def _label(self, made: Example) -> str:
        if not isinstance(made.truth, str) or made.truth not in self._classes:
            raise ValueError(f"the generator made {made.truth!r}, which is not one of {self._classes}")
        return made.truth

    def _checked(self, item: LabelledInput, classes: Sequence[str]) -> str:
        label = (item.truth.decode("utf-8", "replace") if isinstance(item.truth, bytes) else item.truth).strip()
        name = {one.casefold(): one for one in classes}.get(label.casefold())
        if name is None:
            raise DataError(
                f"the label of {item.id} is {label[:60]!r}",
                expected=f"one of {', '.join(classes)}",
                fix="correct the label; nothing was added",
            )
        return name

    def store(self, root: Path, case: str, split: str, body: bytes, label: bytes | str) -> str:
        file = f"{split}/{label!s}/{case}{extension_of(body)}"
        write_file(root / file, body)
        return file

    def _truth(self, root: Path, row: Row) -> str:
        return _folder(row)

    def _shown(self, root: Path, row: Row) -> Collection[str]:
        return (_folder(row),)

    def finish(self, root: Path, rows: Sequence[Row], classes: Sequence[str]) -> None:
        if self.open_classes:
            _write_classes(root, classes)
        table.write(root, rows)


class _LabelFiles(PictureSet):
    """A label file for each picture, where `_label_file` (root, the picture's path below it) says."""

    @staticmethod
    @abstractmethod
    def _label_file(root: Path, file: str) -> Path: ...

    def store(self, root: Path, case: str, split: str, body: bytes, label: bytes | str) -> str:
        file = f"images/{split}/{case}{extension_of(body)}"
        write_file(self._label_file(root, file), label)
        write_file(root / file, body)
        return file

    def _truth(self, root: Path, row: Row) -> Path:
        return self._label_file(root, row.file)


class BoxSet(_LabelFiles):
    """Pictures with any number of boxes, in YOLO's layout; `Case.truth` is the label file, `Labelled.truth` its text
    as bytes. An empty label file means that nothing is in the picture."""

    labels = "boxes"
    _label_file = staticmethod(label_path)

    def classes(self, root: Path) -> tuple[str, ...]:
        """The model's classes. Raises DataError if `data.yaml` has others: the numbers would mean other things."""
        path = root / NAMES
        fix = f"import the data again (`visionloop data import {self.model} PATH`): an import matches classes by name"
        try:
            names = yaml.safe_load(path.read_text(encoding="utf-8"))["names"]
            found = tuple(names[n] for n in sorted(names)) if isinstance(names, dict) else tuple(names)
        except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
            raise DataError(f"{path} cannot be read", expected="YOLO's data.yaml with `names`", fix=fix) from error
        if found != self._classes:
            raise DataError(
                f"{path} numbers other classes: {', '.join(map(str, found[:12]))}",
                expected=", ".join(self._classes[:12]),
                fix=fix,
            )
        return self._classes

    def inspect(self, root: Path) -> pd.DataFrame:
        return inspection.box_table(root, table.read(root, self.model), self.classes(root))

    def checks(self) -> Sequence[Check]:
        return expectations.for_boxes(self.model, self._classes)

    def _label(self, made: Example) -> bytes:
        if isinstance(made.truth, str | np.ndarray):
            raise ValueError(f"the generator made {type(made.truth).__name__}, not boxes")
        width, height = upright_size(made.picture)
        return yolo_labels.text_of(made.truth, self._classes, width, height).encode()

    def _checked(self, item: LabelledInput, classes: Sequence[str]) -> bytes:
        raw = item.truth if isinstance(item.truth, bytes) else item.truth.encode()
        lines, problems = yolo_labels.parse(raw.decode("utf-8", "replace"))
        problems += yolo_labels.problems_of(lines, len(classes))
        if problems:
            raise DataError(
                f"the label of {item.id}: {'; '.join(problems[:5])}",
                expected="a line per box, `class cx cy w h`: class number, centre and size as fractions of the picture",
                fix="correct the label; nothing was added",
            )
        return raw

    def _shown(self, root: Path, row: Row) -> Collection[str]:
        lines, _ = yolo_labels.parse(label_path(root, row.file).read_text(encoding="utf-8"))
        return {self._classes[line.number] for line in lines if line.number < len(self._classes)}

    def finish(self, root: Path, rows: Sequence[Row], classes: Sequence[str]) -> None:
        config = {"path": ".", **{split: f"images/{split}" for split in SPLITS}, "names": dict(enumerate(classes))}
        write_file(root / NAMES, yaml.safe_dump(config, sort_keys=False))
        table.write(root, rows)


class MaskSet(_LabelFiles):
    """Pictures with a mask each, of the picture's size; `Case.truth` is the mask's file, `Labelled.truth` its bytes."""

    labels = "masks"
    _label_file = staticmethod(mask_path)

    def classes(self, root: Path) -> tuple[str, ...]:
        """The model's classes. Raises DataError if `classes.txt` has others: the values would mean other things."""
        found = _read_classes(root / CLASSES)
        if found != self._classes:
            raise DataError(
                f"{root / CLASSES} numbers other classes: {', '.join(found[:12])}",
                expected=", ".join(self._classes[:12]),
                fix=f"import the data again (`visionloop data import {self.model} PATH`): classes are matched by name",
            )
        return self._classes

    def inspect(self, root: Path) -> pd.DataFrame:
        return inspection.mask_table(root, table.read(root, self.model), self.classes(root))

    def checks(self) -> Sequence[Check]:
        return expectations.for_masks(self.model)

    def _label(self, made: Example) -> bytes:
        if not isinstance(made.truth, np.ndarray):
            raise ValueError(f"the generator made {type(made.truth).__name__}, not a mask")
        return mask_labels.encode(made.truth, len(self._classes))

    def _checked(self, item: LabelledInput, classes: Sequence[str]) -> bytes:
        label = mask_labels.label_of(item.truth if isinstance(item.truth, bytes) else item.truth.encode(), classes)
        mask_labels.check_size(label, *upright_size(item.body))
        return label.png

    def _shown(self, root: Path, row: Row) -> Collection[str]:
        return mask_labels.label_of(mask_path(root, row.file).read_bytes(), self._classes).names

    def finish(self, root: Path, rows: Sequence[Row], classes: Sequence[str]) -> None:
        _write_classes(root, classes)
        table.write(root, rows)


def _read_classes(path: Path) -> tuple[str, ...]:
    try:
        names = tuple(filter(None, map(str.strip, path.read_text(encoding="utf-8").splitlines())))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read", expected="one class per line, UTF-8", fix="import again") from error
    if not names or len(set(names)) < len(names):
        raise DataError(f"{path} names no class, or one twice", expected="one class per line", fix="import again")
    return names


def _write_classes(root: Path, classes: Sequence[str]) -> None:
    write_file(root / CLASSES, "".join(f"{name}\n" for name in classes))


def _folder(row: Row) -> str:
    return row.file.split("/")[-2]
