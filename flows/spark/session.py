"""Starts Spark for a run: what must be installed, which master, and which settings pictures need."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from registry.core.errors import MissingService, first_line
from registry.core.runtime import default_threads
from registry.core.settings import settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ATTEMPTS = 4
"""How often Spark tries a task: its own default on a cluster. `local[N]` alone would try once."""
VECTORS = 64
"""Rows of an Arrow batch. Spark's own 10,000 would be 50 MB of features, and several of them wait in each worker."""


def require() -> None:
    """Raises MissingService if Spark cannot start here."""
    if find_spec("pyspark") is None:
        raise MissingService(
            "the engine spark needs pyspark, which is not installed",
            expected="pyspark, and Java 17",
            fix="`pip install --require-hashes -r requirements-spark.lock`, or leave out --engine spark",
        )
    home = os.environ.get("JAVA_HOME")
    if not (Path(home, "bin", "java").is_file() if home else shutil.which("java")):
        raise MissingService(
            f"the engine spark needs Java; there is none in JAVA_HOME={home}" if home else
            "the engine spark needs Java, which is not installed",
            expected="Java 17 or 21",
            fix="`apt-get install openjdk-17-jre-headless`, or set JAVA_HOME; or leave out --engine spark",
        )  # fmt: skip


def master(workers: int) -> str:
    """The setting, or this machine with as many cores as `workers`."""
    return settings().spark_master or f"local[{workers or settings().threads or default_threads()},{ATTEMPTS}]"


def configuration(where: str) -> dict[str, str]:
    """What a run needs, whatever else spark-defaults.conf says."""
    found = {
        "spark.sql.execution.arrow.maxRecordsPerBatch": str(VECTORS),
        "spark.python.worker.reuse": "true",  # a network is loaded once for each of them
        "spark.task.maxFailures": str(ATTEMPTS),
        "spark.executorEnv.OMP_NUM_THREADS": "1",  # a task has one core
        "spark.ui.showConsoleProgress": "false",
    }
    # Not secrets: executors have credentials of their own, as a role or in their environment.
    for name in ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION"):
        if name in os.environ:
            found[f"spark.executorEnv.{name}"] = os.environ[name]
    if where.startswith("local"):
        found |= dict.fromkeys(("spark.driver.host", "spark.driver.bindAddress"), "127.0.0.1")
        found["spark.ui.enabled"] = "false"
    return found


@contextmanager
def session(name: str, workers: int) -> Iterator[SparkSession]:
    """A session that is stopped at the end. Under spark-submit its master and settings stay as they are.

    Raises:
        MissingService: Spark is not installed, or the master does not answer.
    """
    require()
    # Else executors take the machine's own Python, which has none of our packages.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName(name)
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    where = "" if submitted else master(workers)
    if where:
        builder = builder.master(where)
    for key, value in configuration(where).items():
        builder = builder.config(key, value)
    try:
        spark = builder.getOrCreate()
    except Exception as error:  # py4j's own classes
        raise MissingService(
            f"Spark does not start: {first_line(error)[:200]}",
            expected=f"a session at {where or 'the master of spark-submit'}",
            fix="correct the setting spark_master, or try again",
        ) from error
    spark.sparkContext.setLogLevel("ERROR")
    try:
        yield spark
    finally:
        spark.stop()
