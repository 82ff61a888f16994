"""What class folders, YOLO's layout and masks share: making, reading and extending a data set of pictures."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from registry.cases import inspection, table
from registry.cases.picture_facts import PictureFactsCache
from registry.cases.records import STREAM_SEED, AddResult, Check, ImportResult, LabelledInput, not_learnt
from registry.cases.splits import SPLITS, Shares
from registry.cases.table import Row, slug
from registry.cases.yolo_labels import LabelBox
from registry.contract.parts import DataPart
from registry.core.errors import BadInput, DataError
from registry.core.media import ByteArray, Case, Parameters
from registry.core.runtime import default_threads
from registry.datasets import importing
from registry.vision import headers, look_alikes

if TYPE_CHECKING:
    import pandas as pd

STARTER_CASES = {"train": 240, "val": 60, "test": 90}
"""The defaults of the parameters."""
PARALLEL_FROM = 300
"""Number of pictures from which on it pays to start processes."""


@dataclass(frozen=True, eq=False)
class Example:
    """A generated picture.

    Attributes:
        picture: the file's bytes, as a user would upload them.
        truth: its class, its boxes, or its mask: uint8 [H, W], 0: none of the classes, n: the n-th.
        attributes: what evaluation may slice by, e.g. {"time_of_day": "night"}.
    """

    picture: bytes
    truth: str | Sequence[LabelBox] | ByteArray
    attributes: Mapping[str, str] = field(default_factory=dict)


Generator = Callable[[np.random.Generator, int], Example]
"""A model's generator. The second argument is a running number, to balance classes with."""


def generated(make: Generator, wanted: Sequence[tuple[int, int, int]]) -> Iterator[Example]:
    """A picture for each (seed, split, n), in order. Many are drawn on all cores."""
    processes = default_threads()
    if processes == 1 or len(wanted) < PARALLEL_FROM:
        yield from map(partial(_generate, make), wanted)
        return
    # Spawned, not forked: the caller may be a flow with threads of its own.
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        yield from pool.map(partial(_generate, make), wanted, chunksize=16)


def _generate(make: Generator, one: tuple[int, int, int]) -> Example:
    return make(np.random.default_rng(one), one[2])


class PictureSet(DataPart):
    """What all kinds share.

    Args:
        model: its name, for messages.
        classes: in the order of the network's outputs.
        make: the starter data's generator; the same generator state must give the same bytes. None: no starter data.
    """

    labels: str
    """Their kind: a key of `registry.datasets.importing.LAYOUTS`."""

    def __init__(self, model: str, classes: Sequence[str], make: Generator | None = None) -> None:
        if len(set(classes)) < len(classes):
            raise ValueError(f"classes {classes} are not all different")
        self.model, self._classes, self._make = model, tuple(classes), make
        self.fixed_classes: tuple[str, ...] | None = self._classes
        """The classes that an import matches; None if the data defines them."""

    @property
    def has_starter(self) -> bool:
        return self._make is not None

    def synthesise(self, out: Path, params: Parameters) -> None:
        """Writes `train`, `val` and `test` generated cases into `out`; seeded by `seed`, bit-identical."""
        wanted = [
            (int(params["seed"]), number, n)
            for number, split in enumerate(SPLITS)
            for n in range(int(params.get(split, STARTER_CASES[split])))
        ]
        if self._make is None:
            raise self.no_starter(self.model)
        rows = []
        for (_, number, n), made in zip(wanted, generated(self._make, wanted), strict=True):
            split, case = SPLITS[number], f"{SPLITS[number]}-{n:04d}"
            file = self.store(out, case, split, made.picture, self._label(made))
            rows.append(Row(case, split, "starter", file, made.attributes))
        self.finish(out, rows, self._classes)

    def synthesise_stream(self, count: int, seed: int) -> list[LabelledInput]:
        """Generated cases that are in no data set; the same ones for a seed."""
        if self._make is None:
            raise self.no_starter(self.model)
        made = [self._make(np.random.default_rng([STREAM_SEED, seed, n]), n) for n in range(count)]
        return [LabelledInput(f"stream-{seed}-{n:04d}", one.picture, self._label(one)) for n, one in enumerate(made)]

    def import_from(self, source: Path, out: Path, params: Parameters) -> ImportResult:
        """As `DataPart.import_from`, in the formats of `registry.datasets.importing`."""
        return importing.import_into(self, source, out, params)

    def cases(self, root: Path) -> list[Case]:
        """As `DataPart.cases`."""
        self.classes(root)
        return [
            Case(
                row.case,
                row.split,
                row.origin,
                root / row.file,
                self._truth(root, row),
                dict(row.attributes),
                row.group,
            )
            for row in table.read(root, self.model)
        ]

    def lacks(self, root: Path) -> str:
        """As `DataPart.lacks`: classes without a training picture. Reads labels until every class was seen."""
        classes = self.classes(root)
        left = dict.fromkeys(classes)
        for row in table.read(root, self.model):
            if not left:
                break
            if row.split == "train":
                with suppress(OSError, UnicodeDecodeError, BadInput):  # the data check names such a label
                    for name in self._shown(root, row):
                        left.pop(name, None)
        return not_learnt(list(left), len(classes))

    @abstractmethod
    def _shown(self, root: Path, row: Row) -> Collection[str]:
        """The classes that a case's label names. Raises what reading a label raises."""

    def add(self, root: Path, items: Sequence[LabelledInput], origin: str, shares: Shares) -> AddResult:
        """As `DataPart.add`.

        The hash of a case's id gives its split. A look-alike of a picture that is there (`registry.vision.look_alikes`)
        joins that picture's split, or it would leak; one that resembles pictures of two splits is not added. The same
        pixels are not added again under another name. One picture at a time is in memory.
        """
        rows = table.read(root, self.model)
        known = {row.case for row in rows}
        classes = self.classes(root)
        fresh = {slug(item.id): item for item in reversed(items) if slug(item.id) not in known}
        if not fresh:
            return AddResult(0)
        refused, new = [], []
        with PictureFactsCache() as cache:
            facts = cache.at_files([root / row.file for row in rows], inspection.THREADS)
            there = [(fact, row.split) for fact, row in zip(facts, rows, strict=True) if fact.fingerprint is not None]
            contents = {fact.content for fact, _ in there}
            fingerprints = [fact.fingerprint for fact, _ in there if fact.fingerprint is not None]
            splits = [split for _, split in there]
            for case, item in sorted(fresh.items()):
                try:
                    label, body = self._checked(item, classes), item.body
                    mine = cache.at(body)
                except (BadInput, DataError) as error:
                    refused.append(f"{item.id}: {error.found}")
                    continue
                except OSError:
                    continue  # its retention time is over
                if mine.content in contents or mine.fingerprint is None:
                    continue
                near = {splits[n] for _, n in look_alikes.pairs([mine.fingerprint], fingerprints)}
                if len(near) > 1:
                    continue  # it would leak, wherever it went
                split = near.pop() if near else shares.split(case)
                contents.add(mine.content)
                fingerprints.append(mine.fingerprint)
                splits.append(split)
                new.append(Row(case, split, origin, self.store(root, case, split, body, label)))
        if new:
            self.finish(root, [*rows, *new], classes)
        return AddResult(len(new), tuple(refused))

    def move(self, root: Path, cases: Collection[str], split: str) -> None:
        """As `DataPart.move`."""
        rows, classes = table.read(root, self.model), self.classes(root)
        moved = []
        for row in rows:
            if row.case in cases and row.split != split:
                truth, old = self._truth(root, row), root / row.file
                label = truth.read_bytes() if isinstance(truth, Path) else truth
                file = self.store(root, row.case, split, old.read_bytes(), label)
                for path in (old, truth):
                    if isinstance(path, Path):
                        path.unlink()
                row = replace(row, split=split, file=file)
            moved.append(row)
        self.finish(root, moved, classes)

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
    def _label(self, made: Example) -> bytes | str:
        """A generated truth as `LabelledInput.truth`."""

    @abstractmethod
    def _checked(self, item: LabelledInput, classes: Sequence[str]) -> bytes | str:
        """The item's label, checked. Raises DataError."""

    @abstractmethod
    def store(self, root: Path, case: str, split: str, body: bytes, label: bytes | str) -> str:
        """Writes a case's files, bytes unchanged. Returns the picture's path below `root`."""

    @abstractmethod
    def _truth(self, root: Path, row: Row) -> Path | str:
        """`Case.truth`."""

    @abstractmethod
    def finish(self, root: Path, rows: Sequence[Row], classes: Sequence[str]) -> None:
        """Writes the files beside the cases, `cases.csv` last."""


def upright_size(body: bytes) -> tuple[int, int]:
    """Width and height in pixels as a person sees it, from the header alone. Raises BadInput."""
    header = headers.read(body)
    turned = header.orientation >= 5  # EXIF: 5 to 8 lie on their side
    return (header.height, header.width) if turned else (header.width, header.height)
