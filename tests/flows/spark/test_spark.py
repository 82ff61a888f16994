"""--engine spark: the same tables as the local engine, on this machine, on a cluster that loses an executor, and by
spark-submit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from flows.batch import output, spaces
from flows.spark import engine, session
from registry.core.errors import BadInput, MissingService, StorageError
from registry.core.settings import settings
from registry.versions.bundle import Bundle
from tests import s3_server
from tests.conftest import PROJECT
from tests.disks import small_disk
from tests.flows.batch.conftest import bundle as bundle
from tests.flows.batch.conftest import pictures as pictures
from tests.flows.batch.running import draw, parts, rejects, rows, run
from tests.flows.spark import cluster as clusters
from tests.flows.spark.cluster import SparkCluster
from tests.waiting import until

pytestmark = [pytest.mark.scale, pytest.mark.timeout(900)]


@pytest.fixture(autouse=True)
def spark(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    clusters.skip_without_spark()
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    yield
    settings.cache_clear()


def cosines(one: object, other: object) -> np.ndarray:
    a, b = np.array(one, dtype=np.float64), np.array(other, dtype=np.float64)
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def assert_same(one: Path, other: Path) -> None:
    """Row by row: cosine within 1e-3, same class, and nothing twice."""
    first, second = rows(one), rows(other)
    for name in ("path", "label", "class", "version"):
        assert first[name].to_pylist() == second[name].to_pylist()
    assert max(Counter(first["path"].to_pylist()).values()) == 1
    for name in ("features", "pca"):
        assert cosines(first[name].to_pylist(), second[name].to_pylist()).min() > 1 - 1e-3
    assert rejects(one) == rejects(other)


def test_both_engines_give_the_same_rows_rejects_and_components(pictures: Path, tmp_path: Path, bundle: Bundle) -> None:
    (pictures / "bad.png").write_bytes(b"no")
    seen: list[tuple[int, int, str]] = []
    run(pictures, tmp_path / "local", bundle, pca=5)
    done = run(pictures, tmp_path / "spark", bundle, pca=5, engine=engine, on_progress=lambda *now: seen.append(now))
    assert (done.done, done.rejected, done.parts) == (101, 1, 4)
    assert seen[-1][:2] == (101, 101)
    assert_same(tmp_path / "local", tmp_path / "spark")
    found = [rows(tmp_path / place, spaces.COMPONENTS) for place in ("local", "spark")]
    assert found[0]["path"].to_pylist() == found[1]["path"].to_pylist()
    projected = [table[spaces.COMPONENTS].to_pylist() for table in found]
    assert cosines(*projected).min() > 1 - 1e-3
    parts(tmp_path / "spark")[1].unlink()
    whole = rows(tmp_path / "local")
    assert run(pictures, tmp_path / "spark", bundle, engine=engine).done == 32
    assert rows(tmp_path / "spark")["path"].to_pylist() == whole["path"].to_pylist()


def test_what_an_executor_cannot_do_is_one_clear_error(pictures: Path, tmp_path: Path, bundle: Bundle) -> None:
    """What another attempt would meet again is said as the local engine says it."""
    run(pictures, tmp_path / "roomy", bundle)
    sizes = [path.stat().st_size for path in parts(tmp_path / "roomy")]
    with small_disk(tmp_path / "disk", sum(sizes) // 2) as disk:
        with pytest.raises(StorageError, match="the disk is full"):
            run(pictures, disk / "out", bundle, engine=engine)
        assert len(parts(disk / "out")) < len(sizes)
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "rows").write_text("a file where the folder should be")
    with pytest.raises(MissingService, match=r"Spark gave up: FileExistsError: .*rows"):
        run(pictures, tmp_path / "odd", bundle, engine=engine)
    with pytest.raises(BadInput, match="fewer components"):
        run(pictures, tmp_path / "few", bundle, pca=100, engine=engine)


def test_without_pyspark_or_java_one_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    with pytest.raises(MissingService, match="needs Java"):
        session.require()
    monkeypatch.setattr(session, "find_spec", lambda name: None)
    with pytest.raises(MissingService, match="needs pyspark"):
        session.require()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    with clusters.running(tmp_path_factory.mktemp("spark")) as found:
        yield found


def test_a_killed_executor_loses_nothing_and_doubles_nothing(
    cluster: SparkCluster, pictures: Path, tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(100, 1500):
        draw(pictures / "more" / f"{n}.png", n)
    (pictures / "bad.png").write_bytes(b"no")
    monkeypatch.setenv("VISIONLOOP_SPARK_MASTER", cluster.address)
    settings.cache_clear()
    out, killed = tmp_path / "out", []

    def kill_one() -> None:
        until(lambda: len(parts(out)) >= 1, 400, 0.01)
        victim = cluster.executors()[0]
        victim.kill()
        killed.append((victim.pid, len(parts(out))))

    thread = threading.Thread(target=kill_one)
    thread.start()
    done = run(pictures, out, bundle, engine=engine)
    thread.join(timeout=60)
    assert killed, "nothing was killed"
    assert killed[0][1] < done.parts, "it was over before the executor died"
    assert (done.done, done.rejected) == (1501, 1)
    run(pictures, tmp_path / "local", bundle)
    assert_same(tmp_path / "local", out)
    assert len(parts(out)) == done.parts


def test_spark_submit_runs_the_entry_file_from_bucket_to_bucket(
    pictures: Path, tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on EMR Serverless: a process of its own, whose executors find the bucket as every AWS program does."""
    (pictures / "bad.png").write_bytes(b"no")
    with s3_server.running() as s3:
        s3.make("shop")
        s3.fill("shop", pictures, "fruit")
        command = [
            str(clusters.home() / "bin" / "spark-submit"), "--master", "local[2]",
            "--conf", f"spark.pyspark.python={sys.executable}", "--conf", "spark.driver.host=127.0.0.1",
            str(PROJECT / "infra" / "spark" / "job.py"),
            "featurize", "s3://shop/fruit", "--out", "s3://shop/out", "--bundle", str(bundle.path),
        ]  # fmt: skip
        home = {"SPARK_HOME": str(clusters.home()), "VISIONLOOP_VAR": str(tmp_path / "var"), "PYTHONPATH": str(PROJECT)}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=800, check=False,
            env=os.environ | s3.environment() | home,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        assert "101 pictures with fruit_features@" in done.stdout
        for key in s3.keys("shop", "out/"):
            path = tmp_path / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(s3.client().get_object(Bucket="shop", Key=key)["Body"].read())
    run(pictures, tmp_path / "local", bundle)
    assert json.loads((tmp_path / "out" / output.SUCCESS).read_text())["rows"] == 100
    first, second = rows(tmp_path / "out"), rows(tmp_path / "local")
    assert first["path"].to_pylist() == second["path"].to_pylist()
    assert cosines(first["features"].to_pylist(), second["features"].to_pylist()).min() > 1 - 1e-3
    assert rejects(tmp_path / "out") == rejects(tmp_path / "local") != {}
