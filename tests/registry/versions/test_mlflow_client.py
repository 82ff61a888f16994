"""MLflow's database is there as a whole, or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from registry.versions.mlflow_client import make_store, open_client
from tests.conftest import PROJECT
from tests.waiting import until

OPENS = (
    "import sys; from registry.versions.mlflow_client import open_client; open_client(sys.argv[1]).search_experiments()"
)


@pytest.mark.parametrize("later_s", [0.05, 0.4])
def test_a_process_that_is_killed_while_it_makes_the_tables_leaves_no_half_of_them(
    tmp_path: Path, later_s: float
) -> None:
    path = tmp_path / "odd % ü" / "mlflow.db"
    path.parent.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", OPENS, f"sqlite:///{path}"], env={**os.environ, "PYTHONPATH": str(PROJECT)}
    )
    until(lambda: list(path.parent.iterdir()), 60)
    time.sleep(later_s)
    assert process.poll() is None, "it was over before it could be killed"
    process.kill()
    process.wait()
    draft = path.with_name(f"mlflow.db.{process.pid}.draft")
    assert draft.exists()
    client = open_client(f"sqlite:///{path}")
    assert client.create_experiment("after") in {one.experiment_id for one in client.search_experiments()}
    assert not draft.exists()


def test_threads_that_need_it_at_once_make_it_once(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(make_store, [address] * 4))
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]
    assert open_client(address).search_experiments()


def test_what_a_killed_process_with_this_id_left_is_made_anew(tmp_path: Path) -> None:
    """In a container the same program has the same id each time."""
    (tmp_path / f"mlflow.db.{os.getpid()}.draft").write_bytes(b"half of a database")
    make_store(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]
