"""The local engine: one worker per core, each with a network of one thread and slices of its own.

Workers share nothing but the listing. Decoding, the network and writing release Python's lock, so each worker keeps its
core busy from reading to writing. There is no queue between stages that could stall one.
"""

from __future__ import annotations

import copy
import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from flows.batch import spaces
from flows.batch.job import Job, OnPart
from flows.batch.slices import process_slice
from flows.batch.spaces import Space
from registry.core.media import FloatArray
from registry.core.runtime import default_threads
from registry.core.settings import settings
from registry.versions.bundle import open_bundle
from registry.versions.predictor import Predictor


def run(job: Job, numbers: Sequence[int], on_part: OnPart) -> None:
    """As `flows.batch.job.Engine`."""
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in numbers:
        waiting.put(number)
    opened = open_bundle(job.bundle, verify=False)  # whoever made the job has verified it
    stop = threading.Event()

    def work() -> None:
        predictor = Predictor(opened, threads=1, limit=job.work.limit)
        source = copy.copy(job.source)
        while not stop.is_set():
            try:
                number = waiting.get_nowait()
            except queue.Empty:
                return
            items = job.plan.slice(job.items, number)
            rows, rejects = process_slice(predictor, source, items, job.work, job.batch)
            job.output.write(number, rows, rejects)
            on_part(len(items), rejects.num_rows)

    count = max(1, min(job.workers or settings().threads or default_threads(), len(numbers)))
    with ThreadPoolExecutor(count, "batch") as pool:
        futures = [pool.submit(work) for _ in range(count)]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        finally:
            stop.set()


def components(job: Job, count: int) -> Space:
    """As `flows.batch.job.Engine`."""

    def batches() -> Iterator[FloatArray]:
        found = (spaces.features_of(job.output, number)[1] for number in range(job.plan.parts))
        return (batch for batch in found if len(batch))

    space = spaces.fit(batches, count)
    for number in range(job.plan.parts):
        table, features = spaces.features_of(job.output, number)
        if len(features):
            spaces.write_components(job.output, number, table, space.apply(features))
    return space
