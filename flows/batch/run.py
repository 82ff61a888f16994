"""`visionloop featurize` and `predict-batch`: many files -> Parquet, with one version of a model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flows.batch import local, spaces
from flows.batch.job import Engine, Job, OnPart
from flows.batch.listing import Listing, Source
from flows.batch.output import Output
from flows.batch.plan import Plan
from flows.batch.slices import BATCH
from flows.batch.sources import open_source
from flows.batch.stores import open_store
from flows.batch.work import FEATURES, Work
from registry.contract import catalog
from registry.contract.spec import ModelSpec
from registry.core.errors import BadInput
from registry.core.settings import settings


class BatchVersion(Protocol):
    """What a run needs of a version; its `str` is written into the rows."""

    @property
    def model(self) -> str: ...
    @property
    def digest(self) -> str: ...


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        pictures: in the listing.
        done: files processed by this run.
        rejected: files that could not be read, in all parts.
        others: files whose ending is not one of the model's.
        parts: of the table of rows.
        explained: the share of the variance that the components of `pca` explain; None without.
    """

    version: str
    pictures: int
    done: int
    rejected: int
    others: int
    parts: int
    seconds: float
    explained: float | None = None


OnProgress = Callable[[int, int, str], None]
"""Called with (files done, files in all, note), from several threads."""


def feature_models() -> list[ModelSpec]:
    """The models whose task is to describe pictures."""
    return [spec for spec in catalog.all_specs() if spec.task == FEATURES]


def run(
    where: str,
    out: str,
    version: BatchVersion,
    bundle: Path,
    kind: str = FEATURES,
    *,
    media: str = "",
    engine: Engine = local,
    pca: int = 0,
    batch: int = BATCH,
    workers: int = 0,
    fresh: bool = False,
    on_progress: OnProgress = lambda done, total, note: None,
    on_space: Callable[[spaces.Space], None] = lambda space: None,
) -> Summary:
    """Does the work on every file of `where`. Continues an earlier run that stopped.

    Args:
        where: a folder, a glob, s3://bucket/prefix, or Parquet with the files' bytes.
        out: a folder or s3://bucket/prefix; what is in it: `flows.batch.output`.
        bundle: the version's folder, as `Versions.fetch` gives it.
        kind: `flows.batch.work.FEATURES` or PREDICTIONS.
        media: of the file that is made for each prediction.
        pca: components to fit to the features of all pictures; 0: none. New ones are handed to `on_space`.
        batch: files that go through a network at once; workers: 0: one per core.
        fresh: forget the parts of an earlier run.

    Raises:
        BadInput: the source does not exist or has no file for the model, or the model cannot do the work.
        MissingService: the bucket does not answer, or the engine is not installed.
        Refused: `out` holds parts of another version or listing, or another run writes there.
        StorageError: `out` cannot be written, or the disk is full. Whole parts stay.
    """
    began = time.perf_counter()
    work = Work(kind, str(version), media, settings().max_voxels)
    job, others = _job(where, out, version, bundle, work, batch, workers)
    plan = job.plan
    with job.output.store.owned():
        numbers = job.output.begin(fresh)
        left = sum(map(plan.size, numbers))
        if numbers:
            engine.run(job, numbers, _counter(plan.pictures - left, plan.pictures, on_progress))
        space = _with_space(engine, job, pca, on_space) if pca else None
        rejected = job.output.rejected()
        job.output.finish(rejected)
    return Summary(
        plan.version, plan.pictures, left, rejected, others, plan.parts, time.perf_counter() - began,
        float(space.explained.sum()) if space else None,
    )  # fmt: skip


def _job(
    where: str, out: str, version: BatchVersion, bundle: Path, work: Work, batch: int, workers: int
) -> tuple[Job, int]:
    """What is to be done, and how many files of the source are none of the model's."""
    spec = catalog.get(version.model)
    work.check(spec)
    source, listing = _listed(where, spec)
    store = open_store(out)
    plan = Plan.of(work.kind, work.media, source.name, str(version), version.digest, listing)
    return Job(plan, source, listing.items, work, bundle, Output(store, plan), batch, workers), listing.others


def _with_space(engine: Engine, job: Job, count: int, on_space: Callable[[spaces.Space], None]) -> spaces.Space:
    """Fits and projects in one go: what was killed on the way begins again, so all projections are on one space."""
    space = spaces.kept(job.output, count)
    if space is None:
        spaces.forget(job.output)
        space = engine.components(job, count)
        spaces.keep(job.output, space)
        on_space(space)
    return space


def _listed(where: str, spec: ModelSpec) -> tuple[Source, Listing]:
    source = open_source(where, settings().max_upload_mb * 2**20)
    listing = source.find(spec.extensions)
    if not listing.items:
        raise BadInput(
            f"there is no picture in {where}" + (f", only {listing.others} other files" if listing.others else ""),
            expected=f"files ending in {', '.join(spec.extensions)}",
            fix="name the folder that holds them",
        )
    return source, listing


def _counter(done: int, total: int, on_progress: OnProgress) -> OnPart:
    """Adds up the parts. `done`: files of earlier runs."""
    lock, bad = threading.Lock(), 0
    on_progress(done, total, f"{done} are there already" if done else "")

    def on_part(files: int, rejects: int) -> None:
        nonlocal done, bad
        with lock:
            done, bad = done + files, bad + rejects
            now = done, f"{bad} unreadable" if bad else ""
        on_progress(now[0], total, now[1])

    return on_part
