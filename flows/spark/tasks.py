"""What runs in the executors. Driver and executors have the same visionloop installed; Spark sends names of functions.

A task makes one part. It reads the files, runs the network and writes the part itself: pictures and features never go
through the driver, and nothing is read by Hadoop.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.batch import spaces
from flows.batch.listing import Item, Source
from flows.batch.output import Output
from flows.batch.slices import process_slice
from flows.batch.work import Work
from registry.core.errors import MissingService, VisionloopError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark import Broadcast

    from registry.versions.predictor import Predictor

PART = "part int, files int, rejects int, error string"
"""What the driver hears of each part. `error`: JSON of a VisionloopError that another attempt would meet again."""


@dataclass(frozen=True)
class Task:
    """What all tasks of a job share. It travels with each; the listing is a broadcast.

    Attributes:
        archive: the unpacked bundle's folder among the files that Spark sends to executors.
        numbers: of the parts; the task's own row says which.
        attempts: how often Spark tries.
    """

    source: Source
    work: Work
    output: Output
    batch: int
    archive: str
    numbers: tuple[int, ...]
    attempts: int


_opened: dict[str, tuple[Predictor, Source]] = {}
"""By archive and plan: one network for each Python worker, which Spark uses for task after task."""


def make_parts(
    batches: Iterator[pa.RecordBatch], task: Task, listing: Broadcast[list[Item]]
) -> Iterator[pa.RecordBatch]:
    """For mapInArrow: rows of one number, each an index into `task.numbers`, become rows of PART."""
    import pyarrow as pa

    for batch in batches:
        for index in batch.column(0).to_pylist():
            row = _make_part(task, listing.value, task.numbers[index])
            types = (pa.int32(), pa.int32(), pa.int32(), pa.string())
            yield pa.RecordBatch.from_arrays(
                [pa.array([value], kind) for value, kind in zip(row, types, strict=True)],
                names=["part", "files", "rejects", "error"],
            )


def _make_part(task: Task, listing: list[Item], number: int) -> tuple[int, int, int, str | None]:
    items = task.output.plan.slice(listing, number)
    try:
        predictor, source = _open(task)
        rows, rejects = process_slice(predictor, source, items, task.work, task.batch)
        task.output.write(number, rows, rejects)
    except VisionloopError as error:
        if isinstance(error, MissingService) and not _last_attempt(task.attempts):
            raise  # a bucket that does not answer now may do so in a moment
        return number, 0, 0, json.dumps(error.to_json())
    return number, len(items), rejects.num_rows, None


def _last_attempt(attempts: int) -> bool:
    from pyspark import TaskContext

    context = TaskContext.get()
    return context is None or context.attemptNumber() >= attempts - 1


def _open(task: Task) -> tuple[Predictor, Source]:
    key = f"{task.archive} {task.output.plan.id}"
    if key not in _opened:
        import cv2
        from pyspark import SparkFiles

        from registry.versions.bundle import open_bundle
        from registry.versions.predictor import Predictor

        cv2.setNumThreads(1)  # a task has one core
        bundle = open_bundle(Path(SparkFiles.get(task.archive)))  # verified: it came over a network
        _opened.clear()
        _opened[key] = Predictor(bundle, threads=1, limit=task.work.limit), task.source
    return _opened[key]


def read_features(batches: Iterator[pa.RecordBatch], output: Output) -> Iterator[pa.RecordBatch]:
    """For mapInArrow: numbers of parts become rows of part, path, label, features, version."""
    import pyarrow as pa

    for batch in batches:
        for number in batch.column(0).to_pylist():
            table = output.rows(number, ["path", "label", "features", "version"])
            table = table.add_column(0, "part", pa.array([number] * table.num_rows, pa.int32()))
            yield from table.to_batches(max_chunksize=64)


def write_components(batches: Iterator[pa.RecordBatch], output: Output, signs: Any) -> Iterator[pa.RecordBatch]:
    """For mapInArrow: rows of one part, in order, with a column of components -> written; a row with its number.

    `signs`: float [K], by which components are turned.
    """
    import pyarrow as pa

    held = [pa.Table.from_batches([batch]) for batch in batches if batch.num_rows]
    if held:
        table = pa.concat_tables(held)
        found = table[spaces.COMPONENTS].combine_chunks()
        turned = (found.flatten().to_numpy().reshape(len(found), -1) * signs).astype("float32")
        number = table["part"][0].as_py()
        spaces.write_components(output, number, table.select(["path", "label", "version"]), turned)
        yield pa.RecordBatch.from_arrays([pa.array([number], pa.int32())], names=["part"])
