"""`visionloop featurize`: a folder or a bucket of pictures -> Parquet, with a registered version of a model."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.batch import local
from flows.batch.plan import Output, Plan
from flows.batch.slices import BATCH
from flows.batch.sources import open_source
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
        pictures: in the listing; `done`: of these, in this run; `unreadable`: rows with an error, in all parts.
        others: files that are no pictures by their ending.
        parts: Parquet files in the folder.
    """

    version: str
    pictures: int
    done: int
    unreadable: int
    others: int
    parts: int
    seconds: float


@dataclass(frozen=True)
class Work:
    """What was found to do, before it begins: for a progress bar."""

    version: str
    pictures: int
    left: int
    workers: int


def feature_models() -> list[ModelSpec]:
    """Those whose task it is to describe pictures."""
    return [spec for spec in map(catalog.get, catalog.names()) if spec.task == TASK]


def featurize(
    where: str,
    out: Path,
    version: Version,
    bundle: Path,
    *,
    batch: int = BATCH,
    workers: int = 0,
    fresh: bool = False,
    begins: Callable[[Work], None] = lambda work: None,
    told: local.Told = lambda pictures, errors: None,
) -> Summary:
    """Describes every picture of `where` with the version's network; goes on where an earlier run stopped.

    Args:
        where: a folder or s3://bucket/prefix.
        out: gets part-NNNNN.parquet (columns: `flows.batch.slices.schema`) and the plan.
        bundle: the version's, as `Versions.fetch` gives it.
        batch: pictures that go through a network at once; workers: 0, as many as cores.
        fresh: forget the parts of an earlier run.

    Raises:
        BadInput: no such folder or bucket, or no picture in it.
        MissingService: the bucket does not answer.
        Refused: `out` holds the parts of another version or listing, or another run is writing there.
        StorageError: `out` cannot be written, or the disk is full; whole parts stay.
    """
    began, spec = time.perf_counter(), catalog.get(version.model)
    if spec.task != TASK:
        raise BadInput(
            f"{spec.name} makes no features",
            expected=f"one of {', '.join(one.name for one in feature_models())}",
            fix="name it with --model",
        )
    source = open_source(where, settings().max_upload_mb * 2**20)
    output = Output(out)
    listing = source.find(spec.extensions)
    if not listing.items:
        raise BadInput(
            f"there is no picture in {where}" + (f", only {listing.others} other files" if listing.others else ""),
            expected=f"files ending in {', '.join(spec.extensions)}",
            fix="name the folder that holds them",
        )
    plan = Plan.of(source.name, str(version), version.digest, listing)
    with output.owned():
        numbers = output.begin(plan, fresh)
        left = sum(len(plan.slice(listing.items, number)) for number in numbers)
        count = min(workers or settings().threads or default_threads(), max(1, len(numbers)))
        begins(Work(plan.version, plan.pictures, left, count))
        if numbers:
            local.run(
                plan, source, listing.items, numbers, bundle, output,
                workers=count, limit=settings().max_voxels, batch=batch, told=told,
            )  # fmt: skip
        unreadable = local.unreadable(output, plan)
    return Summary(
        plan.version, plan.pictures, left, unreadable, listing.others, plan.parts, time.perf_counter() - began
    )
