"""`visionloop featurize`: a folder or a bucket of pictures -> Parquet, with a registered version of a model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.batch import local
from flows.batch.plan import Output, Plan
from flows.batch.slices import BATCH
from flows.batch.sources import Listing, Source, open_source
from registry.contract import catalog
from registry.contract.spec import ModelSpec
from registry.core.errors import BadInput
from registry.core.runtime import default_threads
from registry.core.settings import settings

if TYPE_CHECKING:
    from registry.versions.mlflow_registry import Version

TASK = "features"


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        pictures: in the listing.
        done: pictures described by this run.
        unreadable: rows with an error, in all parts.
        others: files whose ending is not a picture's.
        parts: Parquet files in the folder.
    """

    version: str
    pictures: int
    done: int
    unreadable: int
    others: int
    parts: int
    seconds: float


OnProgress = Callable[[int, int, str], None]
"""Called with (pictures done, pictures in all, note), from several threads."""


def feature_models() -> list[ModelSpec]:
    """The models whose task is to describe pictures."""
    return [spec for spec in catalog.all_specs() if spec.task == TASK]


def featurize(
    where: str,
    out: Path,
    version: Version,
    bundle: Path,
    *,
    batch: int = BATCH,
    workers: int = 0,
    fresh: bool = False,
    on_progress: OnProgress = lambda done, total, note: None,
) -> Summary:
    """Describes every picture of `where` with the version's network. Continues an earlier run that stopped.

    Args:
        where: a folder or s3://bucket/prefix.
        out: gets the plan and part-NNNNN.parquet (columns: `flows.batch.slices.schema`).
        bundle: the version's folder, as `Versions.fetch` gives it.
        batch: pictures that go through a network at once.
        workers: 0: one per core.
        fresh: forget the parts of an earlier run.

    Raises:
        BadInput: the folder or bucket does not exist, or has no picture.
        MissingService: the bucket does not answer.
        Refused: `out` holds parts of another version or listing, or another run writes there.
        StorageError: `out` cannot be written, or the disk is full. Whole parts stay.
    """
    began = time.perf_counter()
    source, listing = _pictures(where, catalog.get(version.model))
    output, plan = Output(out), Plan.of(source.name, str(version), version.digest, listing)
    with output.owned():
        numbers = output.begin(plan, fresh)
        left = sum(len(plan.slice(listing.items, number)) for number in numbers)
        count = min(workers or settings().threads or default_threads(), max(1, len(numbers)))
        if numbers:
            local.run(
                plan, source, listing.items, numbers, bundle, output,
                workers=count, limit=settings().max_voxels, batch=batch,
                on_part=_counter(plan.pictures - left, plan.pictures, on_progress),
            )  # fmt: skip
        unreadable = local.unreadable(output, plan)
    seconds = time.perf_counter() - began
    return Summary(plan.version, plan.pictures, left, unreadable, listing.others, plan.parts, seconds)


def _pictures(where: str, spec: ModelSpec) -> tuple[Source, Listing]:
    if spec.task != TASK:
        raise BadInput(
            f"{spec.name} makes no features",
            expected=f"one of {', '.join(one.name for one in feature_models())}",
            fix="name it with --model",
        )
    source = open_source(where, settings().max_upload_mb * 2**20)
    listing = source.find(spec.extensions)
    if not listing.items:
        raise BadInput(
            f"there is no picture in {where}" + (f", only {listing.others} other files" if listing.others else ""),
            expected=f"files ending in {', '.join(spec.extensions)}",
            fix="name the folder that holds them",
        )
    return source, listing


def _counter(done: int, total: int, on_progress: OnProgress) -> local.OnPart:
    """Adds up the parts. `done`: pictures of earlier runs."""
    lock, bad = threading.Lock(), 0
    on_progress(done, total, f"{done} are there already" if done else "")

    def on_part(pictures: int, unreadable: int) -> None:
        nonlocal done, bad
        with lock:
            done, bad = done + pictures, bad + unreadable
            now = done, f"{bad} unreadable" if bad else ""
        on_progress(now[0], total, now[1])

    return on_part
