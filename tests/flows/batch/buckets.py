"""Buckets for tests: moto's S3 behind a real HTTP server, which checks users, their rights and every signature."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

PAGE = 7
"""Keys to a page: small, so that listings of a few objects go over several."""
REGION = "eu-central-1"
READ = ("s3:ListBucket", "s3:GetObject")


@dataclass(frozen=True)
class Key:
    """An access key: what a user signs with."""

    id: str
    secret: str


class Buckets:
    """A server of buckets. `address` is for AWS_ENDPOINT_URL."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._owner = self.user("owner", ("s3:*",))

    def user(self, name: str, actions: tuple[str, ...]) -> Key:
        """A user with the right to `actions` on every bucket."""
        iam = self._client("iam", Key("none", "none"))
        iam.create_user(UserName=name)
        statement = {"Effect": "Allow", "Action": actions, "Resource": "arn:aws:s3:::*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName=name, PolicyName="buckets", PolicyDocument=policy)
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return Key(made["AccessKeyId"], made["SecretAccessKey"])

    def ask_for_keys(self) -> None:
        """From now on everything must be signed by a user who has the right to it; users are made before."""
        httpx.post(f"{self.address}/moto-api/reset-auth", content=b"0").raise_for_status()

    def fill(self, bucket: str, folder: Path, prefix: str, access: str = "private") -> None:
        """A new bucket with the files of `folder`."""
        self.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        for path in folder.rglob("*"):
            if path.is_file():
                key = f"{prefix}/{path.relative_to(folder).as_posix()}"
                self.s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes(), ACL=access)

    @cached_property
    def s3(self) -> Any:
        """The owner's client."""
        return self._client("s3", self._owner)

    def _client(self, service: str, key: Key) -> Any:
        import boto3

        return boto3.client(
            service, endpoint_url=self.address, region_name=REGION,
            aws_access_key_id=key.id, aws_secret_access_key=key.secret,
        )  # fmt: skip


@contextmanager
def serve_buckets() -> Iterator[Buckets]:
    """A server without buckets, open to everyone until `ask_for_keys`."""
    from moto.server import ThreadedMotoServer  # seconds, which every process that collects tests would pay

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    try:
        yield Buckets(address)
    finally:
        # moto keeps its state in the process, not in the server.
        httpx.post(f"{address}/moto-api/reset").raise_for_status()
        httpx.post(f"{address}/moto-api/reset-auth", content=b"inf").raise_for_status()
        server.stop()
