"""MLflow and Prefect on PostgreSQL: the servers that `up` starts, a step of the loop, and a restart of the database."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from flows.process import ProcessSpec
from flows.stack import layout
from registry.core.settings import Settings, settings
from registry.versions.bundle import Bundle
from registry.versions.mlflow_registry import Versions
from serving.releases.deploy import free_port
from tests.bundles import contents, make_tiny_bundle
from tests.clusters import Cluster

pytestmark = [pytest.mark.scale, pytest.mark.timeout(1200)]
MODEL = "skin_segmentation"
FLOW = """
from prefect import flow, task

@task
def double(number: int) -> int:
    return 2 * number

@flow
def step(number: int) -> int:
    return double(number)

assert step(21) == 42
"""


@pytest.fixture
def company(postgres: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings of an installation whose servers store in PostgreSQL."""
    for name in ("mlflow", "prefect"):
        postgres.make(name)
    mlflow = postgres.address("mlflow").replace("postgresql:", "postgresql+psycopg:")
    prefect = postgres.address("prefect").replace("postgresql:", "postgresql+asyncpg:")
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", prefect)
    given = {"ROOT": tmp_path, "VAR": tmp_path / "var", "MLFLOW_BACKEND": mlflow}
    given |= {"MLFLOW_PORT": free_port(), "PREFECT_PORT": free_port()}
    for name, value in given.items():
        monkeypatch.setenv(f"VISIONLOOP_{name}", str(value))
    settings.cache_clear()
    yield settings()
    settings.cache_clear()


@pytest.fixture
def servers(company: Settings, tmp_path: Path) -> Iterator[None]:
    """MLflow and Prefect, as the supervisor starts them."""
    specs = [spec for spec in layout.specs(company) if spec.name in ("mlflow", "prefect")]
    started = [(spec, _start(spec, company, tmp_path / f"{spec.name}.log")) for spec in specs]
    try:
        for spec, process in started:
            limit = time.monotonic() + 500
            while not _answers(str(spec.ready_url)):
                assert process.poll() is None, (tmp_path / f"{spec.name}.log").read_text()[-3000:]
                assert time.monotonic() < limit, f"{spec.name} does not answer"
                time.sleep(0.5)
        yield
    finally:
        for _, process in started:
            process.terminate()
        for _, process in started:
            process.wait()


def _start(spec: ProcessSpec, company: Settings, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as out:
        return subprocess.Popen(
            list(spec.argv), stdout=out, stderr=out, cwd=company.root, env=company.child_environment() | dict(spec.env)
        )


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.HTTPError:
        return False


def run_flow(company: Settings) -> None:
    """A flow with a task, from a process of its own, as a worker runs it."""
    done = subprocess.run(
        [sys.executable, "-c", FLOW], env=company.child_environment(), capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_step_of_the_loop_before_and_after_a_restart_of_the_database(
    servers: None, company: Settings, postgres: Cluster, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    versions = Versions(company.mlflow_address)
    first = versions.register(tiny_bundle)
    versions.promote(first)
    run_flow(company)
    postgres.restart()
    second = versions.register(make_tiny_bundle(tmp_path / "second", "another"))
    versions.promote(second)
    run_flow(company)
    assert contents(versions.fetch(versions.get(MODEL)).path) == contents(tmp_path / "second")
    assert (versions.get(MODEL).number, versions.get(MODEL, "previous").number) == (2, 1)
    assert postgres.ask("SELECT count(*) FROM model_versions", "mlflow") == [(2,)]
    assert postgres.ask("SELECT state_type::text, count(*) FROM flow_run GROUP BY 1", "prefect") == [("COMPLETED", 2)]
