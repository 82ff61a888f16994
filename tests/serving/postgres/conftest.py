"""A project folder whose operational database is a PostgreSQL that is stopped and crashes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest

from registry.core import database
from registry.core.settings import settings
from tests.clusters import Cluster
from tests.databases import database_at
from tests.poolers import pooled
from tests.serving.access.conftest import start_router
from tests.serving.conftest import PROJECT, Processes
from tests.waiting import until

Stop = Literal["fast", "immediate"]
"""As an administrator stops a server, and as a crash does."""


@pytest.fixture(scope="package", params=["direct", pytest.param("pooled", marks=pytest.mark.scale)])
def company(
    postgres: Cluster, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Path]:
    """A project folder whose operational database is a PostgreSQL: with connections of its own, or behind PgBouncer."""
    root = tmp_path_factory.mktemp("company")
    (root / "dvc.yaml").write_text("stages: {}\n")
    url = postgres.make(f"company_{os.urandom(4).hex()}")  # a worker may come to this package twice
    with (
        pytest.MonkeyPatch.context() as patch,
        pooled(postgres, url) if request.param == "pooled" else contextlib.nullcontext(url) as url,
    ):
        for name in [name for name in os.environ if name.startswith("VISIONLOOP_")]:
            patch.delenv(name)
        for name, value in {"ROOT": str(root), "VAR": str(root / "var"), "DATABASE_URL": url}.items():
            patch.setenv(f"VISIONLOOP_{name}", value)
        settings.cache_clear()
        (root / "var").mkdir()
        with database_at(url):
            yield root
    settings.cache_clear()


@pytest.fixture(autouse=True)
def fresh(company: Path, postgres: Cluster) -> Iterator[None]:
    """The connection of this thread may have ended with an earlier test's server."""
    database.renew_connection()
    yield
    database.renew_connection()


@pytest.fixture(scope="package")
def processes(company: Path) -> Iterator[Processes]:
    started = Processes(company / "var" / "logs")
    yield started
    started.stop_all()


@pytest.fixture(scope="package")
def guarded(processes: Processes) -> str:
    return start_router(processes, "guarded", require_keys="true", quota_per_minute="0")


@contextlib.contextmanager
def stopped(postgres: Cluster, how: Stop) -> Iterator[None]:
    postgres.stop(how)
    try:
        yield
    finally:
        start_again(postgres)
        database.renew_connection()


def start_again(postgres: Cluster) -> None:
    """Starts it, and waits until it answers: a pooler goes on refusing for `server_login_retry`."""
    postgres.start()
    until(_answers, 15.0)


def _answers() -> bool:
    """Asks by a connection of its own: whoever is tested finds out by itself that its old one is gone."""
    import psycopg

    try:
        with psycopg.connect(settings().database_url, connect_timeout=5) as connection:
            connection.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


@contextlib.contextmanager
def running(module: str, log: Path, **changed: str) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m module` with this project folder's settings; killed in the end, where it still runs."""
    environment = {**settings().child_environment(), "PYTHONPATH": str(PROJECT)}
    environment.update({f"VISIONLOOP_{key.upper()}": value for key, value in changed.items()})
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", module], env=environment, stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def together(work: Callable[[], object], count: int) -> None:
    """Does it in so many threads at the same moment; what one raises, the test raises."""
    ready, failed = threading.Barrier(count), []

    def begin() -> None:
        ready.wait()
        try:
            work()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=begin) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed
