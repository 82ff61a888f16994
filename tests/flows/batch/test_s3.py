"""A bucket instead of a folder: the same rows, and one clear message where something is wrong with it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from flows.batch.listing import Item, Source
from flows.batch.slices import process_slice
from flows.batch.sources import open_source
from flows.batch.work import FEATURES, Work
from registry.core.errors import BadInput, MissingService, Refused
from registry.versions.bundle import Bundle
from registry.versions.predictor import Predictor
from tests.flows.batch.buckets import PAGE, READ, REGION, Buckets, Key, serve_buckets
from tests.flows.batch.running import MOST_BYTES, draw, parts, rows, run

UNSIGNED = Key("", "")


def sign_with(key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("AWS_ACCESS_KEY_ID", key.id), ("AWS_SECRET_ACCESS_KEY", key.secret)):
        if value:
            monkeypatch.setenv(name, value)
        else:
            monkeypatch.delenv(name, raising=False)


def reasons(bundle: Bundle, source: Source, items: Sequence[Item]) -> dict[str, str]:
    """What is rejected of some items -> why."""
    _, found = process_slice(Predictor(bundle, threads=1), source, items, Work(FEATURES, "v"))
    return dict(zip(found["path"].to_pylist(), found["reason"].to_pylist(), strict=True))


@pytest.fixture
def buckets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Buckets]:
    """A server, and nothing of the person's own that leads to another."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", str(PAGE))
    with serve_buckets() as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL", found.address)
        yield found


@pytest.fixture
def shop(buckets: Buckets, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> Buckets:
    """The pictures as s3://shop/fruit/..., for a user who may list and read; in pages of 7 keys."""
    reader = buckets.user("reader", READ)
    buckets.fill("shop", pictures, "fruit")
    buckets.ask_for_keys()
    sign_with(reader, monkeypatch)
    page = buckets.s3.list_objects_v2(Bucket="shop")
    assert (page["KeyCount"], page["IsTruncated"]) == (PAGE, True)
    return buckets


def test_a_bucket_gives_the_same_table_as_the_folder(
    shop: Buckets, pictures: Path, tmp_path: Path, bundle: Bundle
) -> None:
    for place in ("fruit/bad.jpg", "fruits-of-others/x.png"):  # the prefix is a folder's name, not the beginning of one
        shop.s3.put_object(Bucket="shop", Key=place, Body=b"\xff\xd8 no more")
    (pictures / "bad.jpg").write_bytes(b"\xff\xd8 no more")
    done = run("s3://shop/fruit", tmp_path / "cloud", bundle)
    assert (done.pictures, done.rejected) == (101, 1)
    run(pictures, tmp_path / "disk", bundle)
    assert rows(tmp_path / "cloud").equals(rows(tmp_path / "disk"))


def test_a_bucket_is_gone_on_with_until_a_picture_changes(shop: Buckets, tmp_path: Path, bundle: Bundle) -> None:
    run("s3://shop/fruit", tmp_path / "out", bundle)
    whole = rows(tmp_path / "out")
    parts(tmp_path / "out")[2].unlink()
    assert run("s3://shop/fruit/", tmp_path / "out", bundle).done == 32
    assert rows(tmp_path / "out").equals(whole)
    draw(tmp_path / "other.png", 77)
    shop.s3.put_object(Bucket="shop", Key="fruit/pear/001.png", Body=(tmp_path / "other.png").read_bytes())
    with pytest.raises(Refused, match="have changed"):
        run("s3://shop/fruit", tmp_path / "out", bundle)


def test_an_object_that_goes_away_becomes_a_reject(shop: Buckets, bundle: Bundle) -> None:
    source = open_source("s3://shop/fruit", MOST_BYTES)
    items = source.find((".png", ".jpg")).items
    shop.s3.delete_object(Bucket="shop", Key=f"fruit/{items[3].path}")
    for some in (items[:5], items[3:4]):
        reason = reasons(bundle, source, some)
        assert list(reason) == [items[3].path]
        assert "cannot be read" in reason[items[3].path]


def test_an_object_that_is_too_large_is_not_fetched(shop: Buckets, bundle: Bundle) -> None:
    source = open_source("s3://shop/fruit", most_bytes=10)
    found = reasons(bundle, source, source.find((".jpg",)).items[:2])
    assert len(found) == 2
    assert all("allowed" in reason for reason in found.values())


def test_no_bucket_and_no_picture_are_told_apart(shop: Buckets, tmp_path: Path, bundle: Bundle) -> None:
    with pytest.raises(BadInput, match="no picture in s3://shop/none"):
        run("s3://shop/none", tmp_path / "out", bundle)
    with pytest.raises(BadInput, match="there is no bucket other"):
        run("s3://other/x", tmp_path / "out", bundle)


@pytest.mark.parametrize("who", ["wrong secret", "unknown key", "no right to list"])
def test_a_bucket_that_may_not_be_listed_asks_for_credentials(
    who: str, buckets: Buckets, pictures: Path, tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = buckets.user("reader", READ), buckets.user("writer", ("s3:PutObject",))
    buckets.fill("shop", pictures, "fruit")
    buckets.ask_for_keys()
    keys = {"wrong secret": Key(reader.id, "wrong"), "unknown key": Key("AKIANOBODY", "x"), "no right to list": writer}
    sign_with(keys[who], monkeypatch)
    with pytest.raises(MissingService, match="may not be listed") as caught:
        run("s3://shop/fruit", tmp_path / "out", bundle)
    assert "AWS_ACCESS_KEY_ID" in caught.value.fix
    assert not (tmp_path / "out").exists()


def test_a_right_to_list_without_one_to_read_is_said_in_every_reject(
    buckets: Buckets, pictures: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    lister = buckets.user("lister", ("s3:ListBucket",))
    buckets.fill("shop", pictures, "fruit")
    buckets.ask_for_keys()
    sign_with(lister, monkeypatch)
    source = open_source("s3://shop/fruit", MOST_BYTES)
    items = source.find((".png", ".jpg")).items
    found = reasons(bundle, source, items[:3])
    assert len(found) == 3
    assert all("Access Denied" in reason for reason in found.values())


def test_every_object_is_read_with_one_request_whatever_its_name(
    shop: Buckets, tmp_path: Path, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    draw(tmp_path / "one.png", 1)
    names = ("a[1].png", "b*.png", "c?.png", "d#%20 ü&+.png", "e{1,2}.png")
    for name in names:
        shop.s3.put_object(Bucket="shop", Key=f"odd/{name}", Body=(tmp_path / "one.png").read_bytes())
    caplog.clear()
    done = run("s3://shop/odd", tmp_path / "out", bundle)
    assert (done.done, done.rejected) == (len(names), 0)
    assert rows(tmp_path / "out")["path"].to_pylist() == list(names)
    asked = [line for line in caplog.messages if "/shop/odd/" in line]
    assert len(asked) == len(names)


def test_an_open_bucket_needs_no_credentials(
    buckets: Buckets, pictures: Path, tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_with(UNSIGNED, monkeypatch)
    buckets.fill("shop", pictures, "fruit", access="public-read")
    done = run("s3://shop/fruit", tmp_path / "out", bundle)
    assert (done.done, done.rejected) == (100, 0)


def test_private_objects_stay_private_to_those_without_credentials(
    buckets: Buckets, pictures: Path, tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_with(UNSIGNED, monkeypatch)
    buckets.fill("shop", pictures, "fruit")
    assert run("s3://shop/fruit", tmp_path / "out", bundle).rejected == 100


def test_without_credentials_a_closed_bucket_asks_for_them(
    buckets: Buckets, tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_with(UNSIGNED, monkeypatch)
    with closed_to_strangers() as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        with pytest.raises(MissingService, match="may not be listed") as caught:
            run("s3://shop/fruit", tmp_path / "out", bundle)
    assert "AWS_ACCESS_KEY_ID" in caught.value.fix


@contextmanager
def closed_to_strangers() -> Iterator[str]:
    """What S3 answers to an unsigned listing of a private bucket; moto 5.2 breaks down over one instead (500)."""

    class Closed(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(403)
            self.end_headers()

        def do_GET(self) -> None:
            body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
            self.send_response(403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Closed) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_an_address_where_nothing_answers_is_named(
    buckets: Buckets, tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_with(Key("any", "any"), monkeypatch)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(MissingService, match="does not answer"):
        run("s3://shop/fruit", tmp_path / "out", bundle)
