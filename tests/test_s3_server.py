"""The S3 server of the tests does what tests rely on."""

from __future__ import annotations

import pytest

from tests.s3_server import OWNER, READER, Key, S3Server, running

pytestmark = pytest.mark.scale


@pytest.fixture(scope="module")
def server():
    with running() as found:
        yield found


def test_what_is_written_survives_a_crash_and_is_encrypted_where_asked(server: S3Server) -> None:
    server.make("kept-bucket")
    server.client().put_object(Bucket="kept-bucket", Key="a/b", Body=b"hello", ServerSideEncryption="AES256")
    server.kill()
    server.start()
    found = server.client().get_object(Bucket="kept-bucket", Key="a/b")
    assert (found["Body"].read(), found["ServerSideEncryption"]) == (b"hello", "AES256")
    assert server.keys("kept-bucket", "a/") == ["a/b"]


@pytest.mark.parametrize("key", [READER, Key("nobody", "unknown"), Key(OWNER.id, "wrong")], ids=lambda key: key.id)
def test_it_writes_for_nobody_without_the_right(server: S3Server, key: Key) -> None:
    from botocore.exceptions import ClientError

    server.make(f"closed-{key.id}")
    with pytest.raises(ClientError, match=r"AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch"):
        server.client(key).put_object(Bucket=f"closed-{key.id}", Key="x", Body=b"x")
    assert server.keys(f"closed-{key.id}") == []
