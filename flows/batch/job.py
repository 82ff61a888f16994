"""What an engine gets: the plan, and all that it needs to make the parts of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flows.batch.listing import Item, Source
from flows.batch.output import Output
from flows.batch.plan import Plan
from flows.batch.slices import BATCH
from flows.batch.spaces import Space
from flows.batch.work import Work

OnPart = Callable[[int, int], None]
"""Called with (files, rejects among them) after each part, perhaps from several threads."""


@dataclass(frozen=True)
class Job:
    """`bundle`: the version's folder, already verified. `workers`: 0: one per core."""

    plan: Plan
    source: Source
    items: Sequence[Item]
    work: Work
    bundle: Path
    output: Output
    batch: int = BATCH
    workers: int = 0


class Engine(Protocol):
    """Runs slices somewhere."""

    def run(self, job: Job, numbers: Sequence[int], on_part: OnPart) -> None:
        """Writes the parts `numbers`. After an error no worker begins another part. Parts are written whole.

        Raises:
            StorageError: a part could not be written.
            BundleError: the network cannot be loaded.
            MissingService: what the engine needs is not there.
        """

    def components(self, job: Job, count: int) -> Space:
        """Fits principal components to the features in the parts, and writes every part of the table of components.

        Raises:
            BadInput: there are too few rows or features for so many.
        """
