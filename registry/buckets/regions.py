"""The data region rule: a bucket outside of `s3_regions` is refused before a byte of it is read or written.

Amazon says where a bucket is. Another service with its protocol is trusted only by the name of its host, since what it
says of regions means little: that host must be in the list. A server on this machine is allowed, unless it says that a
bucket is in a region that is not.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from registry.buckets.client import client, is_bucket, parts
from registry.buckets.errors import explained
from registry.core.errors import BadInput, Refused
from registry.core.settings import is_loopback, settings

_AMAZON = (".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu")


def check(place: str) -> None:
    """Asks where a bucket is, once in a process, and refuses one that is elsewhere. Other places pass.

    Raises:
        Refused: it is outside of `s3_regions`.
        BadInput: there is no such bucket, or the address names none.
        MissingService: it does not answer, or there are no credentials.
    """
    if is_bucket(place):
        _check(parts(place)[0], place.rstrip("/"), settings().s3_regions)


@lru_cache(maxsize=64)
def _check(bucket: str, place: str, allowed: str) -> None:
    if not bucket:
        raise BadInput(f"{place} names no bucket", expected="s3://bucket/prefix", fix="correct it")
    known = {one.strip() for one in allowed.split(",")}
    with explained(place):
        host = str(urlsplit(client().meta.endpoint_url).hostname)
        if known & {"*", host}:
            return
        if not host.endswith(_AMAZON) and not is_loopback(host):
            raise _elsewhere(place, host, known)
        region = _region_of(bucket)
    if region not in known and (region or not is_loopback(host)):
        raise _elsewhere(place, region or "a region that it does not tell", known)


def _elsewhere(place: str, where: str, known: set[str]) -> Refused:
    return Refused(
        f"{place} is in {where}, where data of this installation must not be",
        expected=f"one of {', '.join(sorted(known))}",
        fix=f"take a bucket there; or, if it may be in {where}, add that to s3_regions",
    )


def _region_of(bucket: str) -> str:
    """The region that a bucket states; "" if it states none.

    A request for the bucket's head asks for no byte of it, and a refusal states the region, too.
    """
    from botocore.exceptions import ClientError, NoCredentialsError

    for signed in (True, False):
        try:
            return _stated(client(signed=signed).head_bucket(Bucket=bucket))
        except NoCredentialsError:
            if not signed:
                raise
        except ClientError as error:
            region = _stated(error.response)
            # What the user may do is found out by doing it; only where it is counts here.
            if region or error.response["ResponseMetadata"].get("HTTPStatusCode") == 403:
                return region
            raise
    raise AssertionError("unreachable")


def _stated(answer: Any) -> str:
    return str(answer["ResponseMetadata"].get("HTTPHeaders", {}).get("x-amz-bucket-region", ""))
