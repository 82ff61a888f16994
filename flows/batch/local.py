"""The local engine: one worker per core, each with a network of one thread and slices of its own.

Workers share nothing but the listing. Decoding, the network and writing release Python's lock, so each worker keeps its
core busy from reading to writing. There is no queue between stages that could stall one.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np

from flows.batch.plan import Output, Plan
from flows.batch.slices import BATCH, featurize_slice
from flows.batch.sources import Item, Source
from registry.versions.bundle import open_bundle
from registry.versions.predictor import Predictor

OnPart = Callable[[int, int], None]
"""Called with (pictures, unreadable ones among them) after each part, from the workers' threads."""


def run(
    plan: Plan,
    source: Source,
    items: Sequence[Item],
    numbers: Sequence[int],
    bundle: Path,
    out: Output,
    *,
    workers: int,
    limit: int,
    batch: int = BATCH,
    on_part: OnPart = lambda pictures, errors: None,
) -> None:
    """Writes the parts `numbers` of `plan`. After an error no worker begins another part. Parts are written whole.

    Raises:
        StorageError: a part could not be written.
        BundleError: the network cannot be loaded.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in numbers:
        waiting.put(number)
    opened = open_bundle(bundle, verify=False)  # `Versions.fetch` has verified it
    stop = threading.Event()

    def work() -> None:
        predictor = Predictor(opened, threads=1, limit=limit)
        while not stop.is_set():
            try:
                number = waiting.get_nowait()
            except queue.Empty:
                return
            table = featurize_slice(predictor, source, plan.slice(items, number), plan.version, batch, limit)
            out.write(number, table)
            on_part(table.num_rows, table.num_rows - table["error"].null_count)

    count = max(1, min(workers, len(numbers)))
    with ThreadPoolExecutor(count, "featurize") as pool:
        futures = [pool.submit(work) for _ in range(count)]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        finally:
            stop.set()


def unreadable(out: Output, plan: Plan) -> int:
    """How many rows of the parts have an error, parts of earlier runs included."""
    import pyarrow.parquet as pq

    counts = []
    for number in range(plan.parts):
        column = pq.read_table(out.path(number), columns=["error"])["error"]
        counts.append(len(column) - column.null_count)
    return int(np.sum(counts))
