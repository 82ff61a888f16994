"""Data sets of pictures on disk: class folders, or YOLO's images and labels; both with `cases.csv`.

    ClassSet                             BoxSet
    {train,val}/<class>/<case>.jpg       images/{train,val}/<case>.jpg
    classes.txt (open classes only)      labels/{train,val}/<case>.txt    class cx cy w h, as shares
    cases.csv                            data.yaml, cases.csv

A model's `data.py` makes one of them, with its own generator, and takes its methods for the functions of
`parts.DataPart`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import yaml

from registry.errors import BadInput, DataError
from registry.files import write_file
from registry.media import Case
from registry.parts import Check, Imported, Labelled, Parameters
from registry.vision import duplicates, headers, inspection, picture, table, yolo_labels
from registry.vision.inspection import content_of, label_path
from registry.vision.table import SPLITS, Row, lot, safe
from registry.vision.yolo_labels import TrueBox

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BoxSet", "ClassSet", "Made", "TrueBox"]

STREAM = 0x5EED  # keeps streams apart from the starter data, whatever their seeds
MAX_PIXELS = inspection.MAX_PIXELS
NAMES, CLASSES = "data.yaml", "classes.txt"
_ENDINGS = {"JPEG": ".jpg", "PNG": ".png", "WebP": ".webp", "BMP": ".bmp", "TIFF": ".tif", "GIF": ".gif"}


@dataclass(frozen=True, eq=False)
class Made:
    """A generated picture.

    Attributes:
        picture: the file's bytes, as a user would upload them.
        truth: its class, or the boxes in it.
        attributes: what evaluation may cut slices by, e.g. {"time_of_day": "night"}.
    """

    picture: bytes
    truth: str | Sequence[TrueBox]
    attributes: Mapping[str, str] = field(default_factory=dict)


Make = Callable[[np.random.Generator, int], Made]
"""A model's generator. The second argument is a running number, to balance classes with."""


class PictureSet(ABC):
    """What both kinds share. The methods named in `parts.DataPart` keep its contract.

    Args:
        model: its name, for messages.
        classes: in the order of the network's outputs.
        make: the starter data's generator; the same generator state must give the same bytes.
        train, val: how many starter cases, where the parameters do not say.
    """

    boxes: bool

    def __init__(self, model: str, classes: Sequence[str], make: Make, train: int, val: int) -> None:
        if len(set(classes)) < len(classes):
            raise ValueError(f"classes {classes} are not all different")
        self.model, self._classes, self._make, self._counts = model, tuple(classes), make, (train, val)
        self.named: tuple[str, ...] | None = self._classes
        """The classes that an import matches names with; None: any."""

    def synthesise(self, out: Path, params: Parameters) -> None:
        """Writes `train` and `val` generated cases into `out`; seeded by `seed`, bit-identical."""
        rows = []
        for number, split in enumerate(SPLITS):
            for n in range(int(params.get(split, self._counts[number]))):
                made = self._make(np.random.default_rng([int(params["seed"]), number, n]), n)
                case = f"{split}-{n:04d}"
                file = self.store(out, case, split, made.picture, self._label(made))
                rows.append(Row(case, split, "starter", file, made.attributes))
        self.finish(out, rows, self._classes)

    def synthesise_stream(self, count: int, seed: int) -> list[Labelled]:
        """Generated cases that are in no data set; the same ones for a seed."""
        made = [self._make(np.random.default_rng([STREAM, seed, n]), n) for n in range(count)]
        return [Labelled(f"stream-{seed}-{n:04d}", one.picture, self._label(one)) for n, one in enumerate(made)]

    def import_from(self, source: Path, out: Path, params: Parameters) -> Imported:
        """As `DataPart.import_from`; `registry.vision.importing` says what is understood."""
        from registry.vision import importing

        return importing.import_into(self, source, out, params)

    def cases(self, root: Path) -> list[Case]:
        """As `DataPart.cases`."""
        self.classes(root)
        return [
            Case(row.case, row.split, row.origin, root / row.file, self._truth(root, row), dict(row.attributes))
            for row in table.read(root, self.model)
        ]

    def add(self, root: Path, items: Sequence[Labelled], origin: str, val_share: float) -> int:
        """As `DataPart.add`. A case's split follows from the hash of its id, unless a picture that shows the same
        (`registry.vision.duplicates`) is there already: then it joins that picture's split, or it would leak. The
        very same pixels, under whatever name, are not added again.

        Raises:
            BadInput: an item is not a picture that can be used.
            DataError: a label is not one; nothing is added then.
        """
        rows = table.read(root, self.model)
        known = {row.case for row in rows}
        classes = self.classes(root)
        fresh = {safe(item.id): item for item in reversed(items) if safe(item.id) not in known}
        if not fresh:
            return 0
        ready = [
            (case, item.input, self._checked(item, classes), picture.decode(item.input, MAX_PIXELS))
            for case, item in sorted(fresh.items())
        ]
        contents, prints, splits = self._present(root, rows)
        new = []
        for case, body, label, seen in ready:
            if (content := content_of(seen)) in contents:
                continue
            mine = duplicates.fingerprint(seen.pixels)
            twin = next(duplicates.alike([mine], prints), None)
            split = splits[twin[1]] if twin else ("val" if lot(case) < val_share else "train")
            contents.add(content)
            prints.append(mine)
            splits.append(split)
            new.append(Row(case, split, origin, self.store(root, case, split, body, label)))
        if new:
            self.finish(root, [*rows, *new], classes)
        return len(new)

    def _present(self, root: Path, rows: Sequence[Row]) -> tuple[set[str], list[duplicates.Fingerprint], list[str]]:
        """What can be read of the pictures that are there: contents, fingerprints and their splits."""

        def look(row: Row) -> tuple[str, duplicates.Fingerprint, str] | None:
            try:
                seen = picture.decode((root / row.file).read_bytes(), MAX_PIXELS)
            except (OSError, BadInput):
                return None
            return content_of(seen), duplicates.fingerprint(seen.pixels), row.split

        with ThreadPoolExecutor(inspection.THREADS) as pool:
            found = [one for one in pool.map(look, rows) if one is not None]
        return {one[0] for one in found}, [one[1] for one in found], [one[2] for one in found]

    @abstractmethod
    def classes(self, root: Path) -> tuple[str, ...]:
        """The classes of the data set at `root`, in the order of their numbers. Raises DataError."""

    @abstractmethod
    def inspect(self, root: Path) -> pd.DataFrame:
        """As `DataPart.inspect`."""

    @abstractmethod
    def checks(self) -> Sequence[Check]:
        """As `DataPart.checks`."""

    @abstractmethod
    def _label(self, made: Made) -> bytes | str:
        """A generated truth as `Labelled.truth` has it."""

    @abstractmethod
    def _checked(self, item: Labelled, classes: Sequence[str]) -> bytes | str:
        """The item's label if it is one. Raises DataError."""

    @abstractmethod
    def store(self, root: Path, case: str, split: str, body: bytes, label: bytes | str) -> str:
        """Writes a case's files; the bytes stay as they are. Returns the picture's path below `root`."""

    @abstractmethod
    def _truth(self, root: Path, row: Row) -> Path | str:
        """`Case.truth`."""

    @abstractmethod
    def finish(self, root: Path, rows: Sequence[Row], classes: Sequence[str]) -> None:
        """Writes what stands beside the cases; `cases.csv` last."""


class ClassSet(PictureSet):
    """Pictures with one class each, in class folders; `Case.truth` and `Labelled.truth` are the class's name.

    `open_classes`: the data defines the classes, not the model: an import may bring its own, and `classes.txt`
    keeps them in order.
    """

    boxes = False

    def __init__(
        self,
        model: str,
        classes: Sequence[str],
        make: Make,
        train: int = 240,
        val: int = 120,
        *,
        open_classes: bool = False,
    ) -> None:
        super().__init__(model, classes, make, train, val)
        self.open_classes = open_classes
        if open_classes:
            self.named = None

    def classes(self, root: Path) -> tuple[str, ...]:
        """The model's classes; where they are open, those of `classes.txt`, or else of the folders."""
        if not self.open_classes:
            return self._classes
        path = root / CLASSES
        if not path.is_file():
            return tuple(sorted({_folder(row) for row in table.read(root, self.model)}))
        try:
            names = tuple(filter(None, map(str.strip, path.read_text(encoding="utf-8").splitlines())))
        except UnicodeDecodeError as error:
            raise DataError(f"{path} cannot be read", expected="a class a line, UTF-8", mend="import again") from error
        if not names or len(set(names)) < len(names):
            raise DataError(f"{path} names no class, or one twice", expected="a class a line", mend="import again")
        return names

    def inspect(self, root: Path) -> pd.DataFrame:
        return inspection.class_table(root, table.read(root, self.model), self.classes(root))

    def checks(self) -> Sequence[Check]:
        return inspection.class_checks(self.model)

    def _label(self, made: Made) -> str:
        if not isinstance(made.truth, str) or made.truth not in self._classes:
            raise ValueError(f"the generator made {made.truth!r}, which is none of {self._classes}")
        return made.truth

    def _checked(self, item: Labelled, classes: Sequence[str]) -> str:
        said = (item.truth.decode("utf-8", "replace") if isinstance(item.truth, bytes) else item.truth).strip()
        name = {one.casefold(): one for one in classes}.get(said.casefold())
        if name is None:
            raise DataError(
                f"the label of {item.id} is {said[:60]!r}",
                expected=f"one of {', '.join(classes)}",
                mend="correct the label; nothing was added",
            )
        return name

    def store(self, root: Path, case: str, split: str, body: bytes, label: bytes | str) -> str:
        file = f"{split}/{label!s}/{case}{ending(body)}"
        write_file(root / file, body)
        return file

    def _truth(self, root: Path, row: Row) -> str:
        return _folder(row)

    def finish(self, root: Path, rows: Sequence[Row], classes: Sequence[str]) -> None:
        if self.open_classes:
            write_file(root / CLASSES, "".join(f"{name}\n" for name in classes))
        table.write(root, rows)


class BoxSet(PictureSet):
    """Pictures with any number of boxes, in YOLO's layout; `Case.truth` is the label file, `Labelled.truth` its text
    as bytes. An empty label file says that there is nothing in the picture."""

    boxes = True

    def __init__(self, model: str, classes: Sequence[str], make: Make, train: int = 160, val: int = 80) -> None:
        super().__init__(model, classes, make, train, val)

    def classes(self, root: Path) -> tuple[str, ...]:
        """The model's classes. Raises DataError if `data.yaml` has others: the numbers would mean other things."""
        path = root / NAMES
        mend = f"import the data again (`visionloop data import {self.model} PATH`): an import matches classes by name"
        try:
            said = yaml.safe_load(path.read_text(encoding="utf-8"))
            names = said["names"]
            found = tuple(names[n] for n in sorted(names)) if isinstance(names, dict) else tuple(names)
        except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
            raise DataError(f"{path} cannot be read", expected="YOLO's data.yaml with `names`", mend=mend) from error
        if found != self._classes:
            raise DataError(
                f"{path} numbers other classes: {', '.join(map(str, found[:12]))}",
                expected=", ".join(self._classes[:12]),
                mend=mend,
            )
        return self._classes

    def inspect(self, root: Path) -> pd.DataFrame:
        return inspection.box_table(root, table.read(root, self.model), self.classes(root))

    def checks(self) -> Sequence[Check]:
        return inspection.box_checks(self.model)

    def _label(self, made: Made) -> bytes:
        if isinstance(made.truth, str):
            raise ValueError("the generator made a class, and boxes are wanted")
        width, height = upright_size(made.picture)
        return yolo_labels.text_of(made.truth, self._classes, width, height).encode()

    def _checked(self, item: Labelled, classes: Sequence[str]) -> bytes:
        raw = item.truth if isinstance(item.truth, bytes) else item.truth.encode()
        lines, problems = yolo_labels.parse(raw.decode("utf-8", "replace"))
        problems += yolo_labels.problems_of(lines, len(classes))
        if problems:
            raise DataError(
                f"the label of {item.id}: {'; '.join(problems[:5])}",
                expected="a line `class cx cy w h` a box: class number, centre and size as shares of the picture",
                mend="correct the label; nothing was added",
            )
        return raw

    def store(self, root: Path, case: str, split: str, body: bytes, label: bytes | str) -> str:
        file = f"images/{split}/{case}{ending(body)}"
        write_file(label_path(root, file), label)
        write_file(root / file, body)
        return file

    def _truth(self, root: Path, row: Row) -> Path:
        return label_path(root, row.file)

    def finish(self, root: Path, rows: Sequence[Row], classes: Sequence[str]) -> None:
        said = {"path": ".", "train": "images/train", "val": "images/val", "names": dict(enumerate(classes))}
        write_file(root / NAMES, yaml.safe_dump(said, sort_keys=False))
        table.write(root, rows)


def _folder(row: Row) -> str:
    return row.file.split("/")[-2]


def ending(body: bytes) -> str:
    """What a picture's file name should end with, from its bytes. Raises BadInput if it is none."""
    return _ENDINGS[headers.read(body).format]


def upright_size(body: bytes) -> tuple[int, int]:
    """Width and height in pixels as a person sees it, from the header alone. Raises BadInput."""
    header = headers.read(body)
    turned = header.orientation >= 5  # EXIF: 5 to 8 lie on their side
    return (header.height, header.width) if turned else (header.width, header.height)
