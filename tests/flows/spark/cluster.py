"""A standalone cluster of Spark on this machine: a master and workers, each a process of its own."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from tests.waiting import until


def skip_without_spark() -> None:
    if importlib.util.find_spec("pyspark") is None:
        pytest.skip("NOT TESTED: Spark; `make test-scale` installs pyspark from requirements-spark.lock")
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("NOT TESTED: Spark; install Java 17 (`apt-get install openjdk-17-jre-headless`)")


def home() -> Path:
    """Where pyspark has Spark's own programs."""
    import pyspark

    return Path(pyspark.__file__).parent


class SparkCluster:
    """`address` is for the setting spark_master."""

    def __init__(self, folder: Path, workers: int) -> None:
        self._folder, self._ports = folder, [_port() for _ in range(2)]
        self.address = f"spark://127.0.0.1:{self._ports[0]}"
        self._status = f"http://127.0.0.1:{self._ports[1]}/json/"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._count = workers

    def start(self) -> None:
        port, page = map(str, self._ports)
        self._run("master.Master", "--host", "127.0.0.1", "--port", port, "--webui-port", page)
        until(lambda: httpx.get(self._status).is_success, 240, 0.5, (httpx.HTTPError,))
        for n in range(self._count):
            place = ["--host", "127.0.0.1", "--webui-port", "0", "--work-dir", str(self._folder / f"work{n}")]
            self._run("worker.Worker", *place, "--cores", "1", "--memory", "1g", self.address)
        until(lambda: httpx.get(self._status).json()["aliveworkers"] == self._count, 240, 0.5, (httpx.HTTPError,))

    def _run(self, name: str, *arguments: str) -> None:
        env = os.environ | {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_HOME": str(home()), "PYSPARK_PYTHON": sys.executable}
        command = [str(home() / "bin" / "spark-class"), f"org.apache.spark.deploy.{name}", *arguments]
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes.append(
                subprocess.Popen(command, stdout=log, stderr=log, env=env, cwd=self._folder, start_new_session=True)
            )

    def executors(self) -> list[psutil.Process]:
        """The JVMs that run tasks, on both workers."""
        found = []
        for process in self._processes[1:]:
            with suppress(psutil.Error):
                for child in psutil.Process(process.pid).children(recursive=True):
                    with suppress(psutil.Error):
                        if any("CoarseGrainedExecutorBackend" in word for word in child.cmdline()):
                            found.append(child)
        return found

    def stop(self) -> None:
        for process in reversed(self._processes):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def running(folder: Path, workers: int = 2) -> Iterator[SparkCluster]:
    skip_without_spark()
    cluster = SparkCluster(folder, workers)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def _port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])
