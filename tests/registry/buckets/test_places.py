"""MLflow's artifacts and DVC's remote in a real server's bucket: encrypted, read back, and what goes wrong."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from flows.steps import data_versions
from registry.core.errors import MissingService
from registry.core.settings import settings
from registry.versions.bundle import Bundle
from registry.versions.mlflow_registry import Versions
from tests.bundles import contents
from tests.s3_server import READER, S3Server, running

pytestmark = [pytest.mark.scale, pytest.mark.timeout(900)]
MODEL = "skin_segmentation"


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with running() as found:
        yield found


@pytest.fixture
def here(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
    return server


def encrypted(server: S3Server, bucket: str, keys: list[str]) -> bool:
    heads = (server.client().head_object(Bucket=bucket, Key=key) for key in keys)
    return {head.get("ServerSideEncryption") for head in heads} == {"AES256"}


@pytest.fixture
def mlflow(here: S3Server, tmp_path: Path) -> Iterator[str]:
    """The server that `up` starts, with its artifacts in the bucket `artifacts`."""
    here.make("artifacts")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "flows.stack.mlflow_server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--store", f"sqlite:///{tmp_path / 'mlflow.db'}", "--artifacts", "s3://artifacts/mlflow"]
    with (tmp_path / "log").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=settings().child_environment())
    address, limit = f"http://127.0.0.1:{port}", time.monotonic() + 400
    try:
        while True:
            assert process.poll() is None, (tmp_path / "log").read_text()[-2000:]
            assert time.monotonic() < limit
            try:
                if httpx.get(f"{address}/health").is_success:
                    break
            except httpx.HTTPError:
                time.sleep(0.3)
        yield address
    finally:
        process.terminate()
        process.wait()


def test_a_version_is_kept_in_the_bucket_encrypted_and_fetched_from_it(
    here: S3Server, mlflow: str, tiny_bundle: Bundle
) -> None:
    versions = Versions(mlflow)
    version = versions.register(tiny_bundle)
    keys = here.keys("artifacts", "mlflow/")
    assert any(key.endswith("bundle.json") for key in keys)
    assert encrypted(here, "artifacts", keys)
    assert contents(versions.fetch(version).path) == contents(tiny_bundle.path)


def test_data_versions_are_pushed_encrypted_and_pulled(
    here: S3Server, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.make("data-versions")
    monkeypatch.setenv("VISIONLOOP_DVC_REMOTE", "s3://data-versions/dvc")
    settings.cache_clear()
    folder = workspace / "data" / MODEL
    for number in range(3):
        (folder / f"{number}.txt").parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.txt").write_text(f"case {number}")
    data_versions.add(MODEL)
    keys = here.keys("data-versions", "dvc/")
    assert len(keys) == 4  # three files, and the folder's list
    assert encrypted(here, "data-versions", keys)
    shutil.rmtree(folder)
    shutil.rmtree(workspace / ".dvc" / "cache", ignore_errors=True)
    with data_versions.repository() as repo:
        repo.pull(str(folder))
    assert (folder / "2.txt").read_text() == "case 2"


@pytest.mark.parametrize("wrong", ["rights", "server"])
def test_a_push_that_fails_is_one_message(
    wrong: str, here: S3Server, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.make(f"fails-{wrong}")
    monkeypatch.setenv("VISIONLOOP_DVC_REMOTE", f"s3://fails-{wrong}")
    settings.cache_clear()
    folder = workspace / "data" / MODEL
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "x.txt").write_text(wrong)
    if wrong == "rights":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER.id)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER.secret)
    if wrong == "server":
        from dvc.repo import Repo

        pushed = Repo.push

        def killed(self: Repo, *given: object, **more: object) -> object:
            here.kill()
            return pushed(self, *given, **more)

        monkeypatch.setattr(Repo, "push", killed)
    try:
        with pytest.raises(
            MissingService, match="access is denied" if wrong == "rights" else "does not answer"
        ) as caught:
            data_versions.add(MODEL)
    finally:
        if wrong == "server":
            here.start()
    assert caught.value.fix
    assert not data_versions.was_pushed(MODEL)
