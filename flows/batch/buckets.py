"""Buckets of S3, or of a service with its protocol: their files as a source, and their errors in our words.

Credentials, region and address come from where every AWS program looks (AWS_PROFILE, AWS_ACCESS_KEY_ID,
AWS_ENDPOINT_URL, an instance's role, ...).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from flows.batch.listing import Item, Listing, as_listing, too_large
from registry.buckets import encryption, regions
from registry.buckets.client import ATTEMPTS, parts
from registry.buckets.errors import away, explanation
from registry.core.errors import BadInput, MissingService, VisionloopError, first_line

# botocore's own: backs off when S3 asks to slow down (503), and repeats what a broken connection cut off.
RETRIES = {"retries": {"mode": "standard", "max_attempts": ATTEMPTS}}


def connect(anonymous: bool = False) -> Any:
    """A client of its own. One request per object: with several, s3fs would first ask for its size."""
    import s3fs

    return s3fs.S3FileSystem(
        anon=anonymous, skip_instance_cache=True, use_listings_cache=False, max_concurrency=1, config_kwargs=RETRIES,
        s3_additional_kwargs=encryption.put_options(),
    )  # fmt: skip


def split_address(address: str) -> tuple[str, str]:
    """`s3://bucket/some/prefix/` -> bucket, some/prefix. Raises BadInput."""
    bucket, prefix = parts(address)
    if not bucket:
        raise BadInput(f"{address} names no bucket", expected="s3://bucket/prefix")
    return bucket, prefix


@contextmanager
def explained(address: str, right: str = "s3:ListBucket and s3:GetObject") -> Iterator[None]:
    """Turns what S3 refuses into our errors. Without any credentials botocore's NoCredentialsError passes.

    Args:
        right: what the caller wants to do, for the message.

    Raises:
        BadInput: there is no such bucket.
        MissingService: it may not be used, or does not answer.
    """
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except NoCredentialsError:
        raise
    except PermissionError as error:
        verb = "written to" if "Put" in right else "listed"
        raise MissingService(
            f"{address} may not be {verb}: {reason(error)}",
            expected=f"credentials with {right} on it",
            fix="set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ) from error
    except (BotoCoreError, ClientError, OSError) as error:
        raise explanation(error, address) or away(address, reason(error)) from error


class Bucket:
    """A prefix of a bucket, through s3fs. Without credentials it asks anonymously."""

    def __init__(self, address: str, most_bytes: int) -> None:
        self._bucket, self._prefix = split_address(address)
        regions.check(address)
        self.name, self._most, self._anonymous = address.rstrip("/"), most_bytes, False

    @cached_property
    def _files(self) -> Any:
        return connect(self._anonymous)

    def __getstate__(self) -> dict[str, Any]:
        """Connections stay here."""
        return {name: value for name, value in self.__dict__.items() if name != "_files"}

    @property
    def _base(self) -> str:
        return f"{self._bucket}/{self._prefix}" if self._prefix else self._bucket

    def find(self, endings: Sequence[str]) -> Listing:
        from botocore.exceptions import NoCredentialsError

        try:
            found = self._ask()
        except NoCredentialsError:
            self._anonymous = True
            del self._files
            found = self._ask()
        base = self._base + "/"
        return as_listing(
            (
                (key.removeprefix(base), int(about["size"]), str(about.get("ETag", "")).strip('"'))
                for key, about in found.items()
                if key.startswith(base) and not any(p.startswith(".") for p in key.removeprefix(base).split("/"))
            ),
            endings,
        )

    def _ask(self) -> dict[str, dict[str, Any]]:
        with explained(self.name):
            found: dict[str, dict[str, Any]] = self._files.find(self._base, detail=True)
            if not found:
                # `find` returns nothing for a bucket that does not exist or must not be listed.
                self._files.ls(self._bucket)
        return found

    def read(self, items: Sequence[Item]) -> list[bytes | str]:
        """Reads all at once: latency, not bandwidth, is the cost of a bucket."""
        wanted = [item for item in items if item.size <= self._most]
        # `cat_ranges` takes names as they are; `cat` would take brackets and stars as patterns.
        got = self._files.cat_ranges([f"{self._base}/{item.path}" for item in wanted], None, None, on_error="return")
        bodies = dict(zip(wanted, got, strict=True))
        return [too_large(item.size, self._most) or _body(bodies[item]) for item in items]


def _body(got: bytes | Exception) -> bytes | str:
    return got if isinstance(got, bytes) else f"cannot be read: {reason(got)}"


def reason(error: BaseException) -> str:
    """One line about an error, of at most 200 characters."""
    return error.found if isinstance(error, VisionloopError) else first_line(error)[:200]
