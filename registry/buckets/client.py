"""A client of S3 that waits only so long, and asks again."""

from __future__ import annotations

from typing import Any

S3 = "s3://"
CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 5, 60
ATTEMPTS = 5


def is_bucket(place: str) -> bool:
    """Whether a place is an address like s3://bucket/prefix."""
    return place.startswith(S3)


def parts(place: str) -> tuple[str, str]:
    """Bucket and prefix of an address; the prefix without slashes at its ends."""
    bucket, _, prefix = place.removeprefix(S3).partition("/")
    return bucket, prefix.strip("/")


def client(*, signed: bool = True) -> Any:
    """boto3's client. Credentials, region and address come from where every AWS program looks.

    Args:
        signed: whether to sign requests. Unsigned ones reach public buckets.
    """
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    config = Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        **({} if signed else {"signature_version": UNSIGNED}),
    )
    # A session of its own: boto3's default one keeps the credentials that it found first.
    return boto3.session.Session().client("s3", config=config)
