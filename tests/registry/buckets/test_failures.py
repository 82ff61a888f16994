"""Each failure of a bucket is one message. The real server says what it can; the rest is said as Amazon says it."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.batch.sources import open_source
from registry.buckets.client import ATTEMPTS, client
from registry.buckets.encryption import put_options
from registry.buckets.errors import explained
from registry.core.errors import BadInput, MissingService
from tests.registry.buckets.recorded import answering
from tests.s3_server import OWNER, READER, Key, S3Server, running


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with running() as found:
        found.make("pictures")
        yield found


@pytest.fixture
def here(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
    return server


def sign_with(key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key.id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key.secret)


@pytest.mark.parametrize(
    ("code", "status", "says"),
    [
        ("SlowDown", 503, "asks for fewer requests"),
        ("ExpiredToken", 400, "the credentials have expired"),
        ("InvalidAccessKeyId", 403, "the credentials are wrong"),
        ("AccessDenied", 403, "access is denied"),
        ("KMS.DisabledException", 400, "s3_encryption"),
        ("InternalError", 500, "does not answer"),
    ],
)
def test_what_the_server_says_is_told_in_words(
    code: str, status: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(status, code) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
        with pytest.raises(MissingService, match=says) as caught, explained("s3://some-bucket/x"):
            client().put_object(Bucket="some-bucket", Key="x", Body=b"x", **put_options())
        assert caught.value.fix
        assert len(server.asked) == (ATTEMPTS if status >= 500 else 1)


@pytest.mark.scale
@pytest.mark.parametrize("key", [Key("nobody", "unknown"), Key(OWNER.id, "wrong")], ids=["unknown", "wrong"])
def test_wrong_credentials(here: S3Server, key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    sign_with(key, monkeypatch)
    with pytest.raises(MissingService, match=r"the credentials are wrong|access is denied"):
        open_source("s3://pictures/x", 1).find([".jpg"])
    with pytest.raises(MissingService, match="the credentials are wrong"), explained("s3://pictures"):
        client().put_object(Bucket="pictures", Key="x", Body=b"x")


@pytest.mark.scale
def test_a_reader_does_not_write_and_a_missing_bucket_is_none(here: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="there is no bucket not-there"):
        open_source("s3://not-there/x", 1)
    sign_with(READER, monkeypatch)
    assert open_source("s3://pictures", 1).find([".jpg"]).items == ()
    with pytest.raises(MissingService, match="access is denied"), explained("s3://pictures"):
        client().put_object(Bucket="pictures", Key="x", Body=b"x")


class Slow(io.RawIOBase):
    """40 MiB, during which something happens once."""

    def __init__(self, happens: threading.Event, goes_on: threading.Event) -> None:
        self._left, self._happens, self._goes_on = 40 * 2**20, happens, goes_on

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self._left <= 20 * 2**20 and not self._happens.is_set():
            self._happens.set()
            self._goes_on.wait(30)
        size = min(self._left, size if size >= 0 else self._left)
        self._left -= size
        return b"x" * size


@pytest.mark.scale
def test_a_server_killed_in_an_upload_leaves_no_object(here: S3Server, tmp_path: Path) -> None:
    half, dead = threading.Event(), threading.Event()

    def kill() -> None:
        half.wait(60)
        here.kill()
        dead.set()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(MissingService, match="does not answer"), explained("s3://pictures/big"):
        client().upload_fileobj(Slow(half, dead), "pictures", "big", ExtraArgs=put_options())
    killer.join()
    here.start()
    assert "big" not in here.keys("pictures")
    client().upload_fileobj(io.BytesIO(b"x" * 40 * 2**20), "pictures", "big", ExtraArgs=put_options())
    about = here.client().head_object(Bucket="pictures", Key="big")
    assert (about["ContentLength"], about["ServerSideEncryption"]) == (40 * 2**20, "AES256")
