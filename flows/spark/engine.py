"""The engine of Spark: the driver lists and plans, executors make the parts (`flows.spark.tasks`).

A task is one part. If an executor dies, Spark gives its tasks to another, and the part is written again under the same
name with the same content. So a part is there once, whatever Spark repeats.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.batch import spaces
from flows.batch.job import Job, OnPart
from flows.batch.spaces import Space
from flows.spark.session import ATTEMPTS, session
from flows.spark.tasks import PART, Task, make_parts, read_features, write_components
from registry.core.errors import MissingService, error_from_json

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

POLL_S = 0.5


def run(job: Job, numbers: Sequence[int], on_part: OnPart) -> None:
    """As `flows.batch.job.Engine`."""
    with session(f"visionloop {job.plan.version}", job.workers) as spark, _sent(spark, job) as archive:
        task = Task(job.source, job.work, job.output, job.batch, archive, tuple(numbers), ATTEMPTS)
        listing = spark.sparkContext.broadcast(list(job.items))
        made = partial(make_parts, task=task, listing=listing)
        # One partition for each part, so that a task is lost with one part of its work only.
        frame = spark.range(0, len(numbers), 1, len(numbers)).mapInArrow(made, PART)
        told = _Told(job, numbers, on_part)
        rows = _collect(spark, frame, told.parts)
        for row in rows:
            if row.error:
                raise error_from_json(json.loads(row.error))
        told.end(sum(row.rejects for row in rows))


class _Told:
    """Tells the caller of files as their parts come. How many are rejects is known at the end."""

    def __init__(self, job: Job, numbers: Sequence[int], on_part: OnPart) -> None:
        self._part, self._total = job.plan.part, sum(map(job.plan.size, numbers))
        self._on_part, self._files = on_part, 0

    def parts(self, count: int) -> None:
        """`count`: parts that are finished. Which ones is not known, and only the last is smaller."""
        files = min(count * self._part, self._total)
        if files > self._files:
            self._on_part(files - self._files, 0)
            self._files = files

    def end(self, rejects: int) -> None:
        self._on_part(self._total - self._files, rejects)
        self._files = self._total


@contextmanager
def _sent(spark: SparkSession, job: Job) -> Iterator[str]:
    """The bundle as an archive that every executor gets once. Yields the folder's name there."""
    name = f"bundle-{job.plan.digest[:16]}"
    with tempfile.TemporaryDirectory(prefix="visionloop-") as folder:
        path = shutil.make_archive(str(Path(folder, name)), "zip", job.bundle)
        spark.sparkContext.addArchive(f"{path}#{name}")
        yield name


def _collect(spark: SparkSession, frame: DataFrame, on_tick: Any = lambda count: None) -> list[Any]:
    """Runs the frame's job. `on_tick` hears how many tasks are finished.

    Raises:
        MissingService: Spark gave up.
    """
    context, group = spark.sparkContext, uuid.uuid4().hex

    def work() -> list[Any]:
        context.setJobGroup(group, "visionloop", interruptOnCancel=True)
        return frame.collect()

    with ThreadPoolExecutor(1, "spark") as pool:
        future = pool.submit(work)
        try:
            while True:
                with suppress(NotYet):
                    return future.result(POLL_S)
                on_tick(_finished(context, group))
        except BaseException as error:
            with suppress(Exception):
                context.cancelJobGroup(group)
            if _of_spark(error):
                raise _given_up(error) from error
            raise


def _finished(context: Any, group: str) -> int:
    """Tasks that are finished, of all jobs of the group."""
    tracker = context.statusTracker()
    jobs = (tracker.getJobInfo(one) for one in tracker.getJobIdsForGroup(group))
    stages = (tracker.getStageInfo(stage) for job in jobs if job for stage in job.stageIds)
    return sum(stage.numCompletedTasks for stage in stages if stage)


def _of_spark(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in ("pyspark", "py4j")


_TOLD = re.compile(r"^(?:[a-z_]\w*\.)*([A-Z]\w*(?:Error|Exception|Service|Input|Refused): .*)")
"""The last line of a Python traceback."""


def _given_up(error: BaseException) -> MissingService:
    """Spark's message has the traceback of the task's Python among those of its JVM."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [found.group(1) for line in lines if "apache" not in line and (found := _TOLD.match(line))]
    why = (told or lines or [type(error).__name__])[-1 if told else 0]
    return MissingService(
        f"Spark gave up: {why[:300]}",
        expected="executors with the same visionloop as the driver, that reach source and output",
        fix="the executors' logs say more; run the same command again: finished parts are kept",
    )


def components(job: Job, count: int) -> Space:
    """As `flows.batch.job.Engine`, with pyspark.ml. Executors read the features and write the components."""
    with session(f"visionloop {job.plan.version} pca", job.workers) as spark:
        frame = _vectors(spark, job).cache()
        first = frame.first()
        spaces.check(frame.count(), len(first.vector) if first else 0, count)
        from pyspark.ml import Pipeline
        from pyspark.ml.feature import PCA, StandardScaler
        from pyspark.ml.functions import vector_to_array

        scaler = StandardScaler(withMean=True, withStd=True, inputCol="vector", outputCol="scaled")
        pca = PCA(k=count, inputCol="scaled", outputCol="projected")
        try:
            model = Pipeline(stages=[scaler, pca]).fit(frame)
        except Exception as error:
            raise _given_up(error) from error
        space, signs = _space(*model.stages)
        projected = vector_to_array("projected", "float32").alias(spaces.COMPONENTS)
        found = model.transform(frame).select("part", "path", "label", "version", projected)
        written = found.mapInArrow(partial(write_components, output=job.output, signs=signs), "part int")
        _collect(spark, written)
        return space


def _vectors(spark: SparkSession, job: Job) -> DataFrame:
    """The rows of all parts, a partition for each part, with their features as a column `vector`."""
    from pyspark.ml.functions import array_to_vector

    parts = job.plan.parts
    columns = "part int, path string, label string, features array<float>, version string"
    frame = spark.range(0, parts, 1, parts).mapInArrow(partial(read_features, output=job.output), columns)
    return frame.withColumn("vector", array_to_vector("features")).drop("features")


def _space(scaler: Any, pca: Any) -> tuple[Space, Any]:
    """What the two models have learned, and the signs by which our components differ from theirs."""
    import numpy as np

    theirs = np.asarray(pca.pc.toArray()).T
    mean, deviation = np.asarray(scaler.mean.toArray()), np.asarray(scaler.std.toArray())
    space = Space.of(mean, deviation, theirs, np.asarray(pca.explainedVariance.toArray()))
    return space, np.sign((space.components * theirs).sum(axis=1))
