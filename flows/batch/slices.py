"""All the work on one slice of a listing: files in, two tables out. All engines use it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from flows.batch.listing import Item, Source
from flows.batch.work import Columns, Rejects, Work
from registry.core.errors import VisionloopError
from registry.core.media import Clip, Prepared
from registry.versions.predictor import Predictor

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 32
READ_BYTES = 64 * 2**20
"""Most bytes of files that are read at once, beside a single larger one."""
HELD_BYTES = 256 * 2**20
"""Decoded and prepared pictures that wait for the network: more, and it runs on a smaller batch."""


class Ready(NamedTuple):
    """A prepared file. `sample`: what was decoded, if the answer needs it again."""

    item: Item
    prepared: Prepared
    sample: Any


def process_slice(
    predictor: Predictor, source: Source, items: Sequence[Item], work: Work, batch: int = BATCH
) -> tuple[pa.Table, pa.Table]:
    """Reads, decodes, runs and answers.

    Args:
        batch: files that go through the network at once.

    Returns:
        Rows and rejects, each in the order of `items`. A file is in one of them.
    """
    columns, rejects = work.columns(), Rejects(work.version)
    for ready in _prepared(predictor, source, items, work, batch, columns, rejects):
        _answer(predictor, ready, columns, rejects)
    return columns.table(), rejects.table()


def _answer(predictor: Predictor, ready: Sequence[Ready], columns: Columns, rejects: Rejects) -> None:
    """Runs the network on all of them at once. A scan has many rows of it, a picture one, a face-less one none."""
    counts = [len(one.prepared.batch) for one in ready]
    outputs = predictor.run(np.concatenate([one.prepared.batch for one in ready]))
    part, thresholds = predictor.spec.inference, predictor.bundle.manifest.thresholds
    end = 0
    for one, count in zip(ready, counts, strict=True):
        start, end = end, end + count
        mine = {name: value[start:end] for name, value in outputs.items()}
        try:
            columns.add(one.item, mine, part.postprocess(mine, one.prepared, thresholds), one.sample, predictor)
        except Exception as error:  # one odd file among a million must not stop the others
            _reject(rejects, one.item, error)


def _prepared(
    predictor: Predictor,
    source: Source,
    items: Sequence[Item],
    work: Work,
    batch: int,
    columns: Columns,
    rejects: Rejects,
) -> Iterator[list[Ready]]:
    """Batches of prepared files. Errors go to `rejects`, videos straight to `columns`."""
    decode = predictor.spec.inference.decode
    ready: list[Ready] = []
    held = 0
    for item, body in _bodies(source, items, batch):
        try:
            if isinstance(body, str):
                rejects.add(item, body, "Unreadable")
                continue
            sample = decode(body, work.limit)
            if isinstance(sample, Clip):  # frame by frame, with its own batches
                if ready:
                    yield ready
                    ready, held = [], 0
                found = predictor(body)
                columns.add(item, {"embedding": found.embedding[None]}, found.result, found.sample, predictor)
                continue
            prepared = predictor.prepare(sample)
        except Exception as error:
            _reject(rejects, item, error)
            continue
        ready.append(Ready(item, prepared, sample if work.keeps_samples else None))
        held += prepared.batch.nbytes + len(body)
        if len(ready) >= batch or held > HELD_BYTES:
            yield ready
            ready, held = [], 0
    if ready:
        yield ready


def _bodies(source: Source, items: Sequence[Item], batch: int) -> Iterator[tuple[Item, bytes | str]]:
    """Each item with its bytes. The next ones are read meanwhile."""
    groups = iter(_groups(items, batch))
    group = next(groups, None)
    with ThreadPoolExecutor(1, "reader") as reader:
        coming = reader.submit(source.read, group) if group else None
        while group and coming:
            bodies, mine = coming.result(), group
            group = next(groups, None)
            coming = reader.submit(source.read, group) if group else None
            yield from zip(mine, bodies, strict=True)


def _groups(items: Sequence[Item], batch: int) -> Iterator[Sequence[Item]]:
    """Cuts into groups of at most `batch` files and READ_BYTES."""
    start, size = 0, 0
    for at, item in enumerate(items):
        if at > start and (at - start == batch or size + item.size > READ_BYTES):
            yield items[start:at]
            start, size = at, 0
        size += item.size
    if start < len(items):
        yield items[start:]


def _reject(rejects: Rejects, item: Item, error: Exception) -> None:
    found = error.found if isinstance(error, VisionloopError) else f"{type(error).__name__}: {error}"
    rejects.add(item, found, type(error).__name__)
