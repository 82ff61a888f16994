"""Static files are compressed once, for those who take it. In this process, over ASGI."""

from __future__ import annotations

import gzip

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from serving.web import static_files


@pytest.fixture
def static() -> TestClient:
    return TestClient(Starlette(routes=[static_files.mount()]), base_url=f"http://127.0.0.1{static_files.url()}")


def test_a_static_file_is_compressed_once(static: TestClient) -> None:
    paths = [folder / "vendor" / "bootstrap.min.css" for folder in static_files.folders()]
    (source,) = [path for path in paths if path.is_file()]
    static_files._compressed.cache_clear()
    for _ in range(3):
        answer = static.get("vendor/bootstrap.min.css", headers={"Accept-Encoding": "gzip"})
        assert answer.headers["content-encoding"] == "gzip"
        assert int(answer.headers["content-length"]) == len(gzip.compress(source.read_bytes(), mtime=0))
        assert answer.content == source.read_bytes()
    assert static_files._compressed.cache_info().misses == 1
    again = {"Accept-Encoding": "gzip", "If-None-Match": answer.headers["etag"]}
    assert static.get("vendor/bootstrap.min.css", headers=again).status_code == 304


def test_who_takes_no_compression_gets_the_file_itself(static: TestClient) -> None:
    answer = static.get("vendor/bootstrap.min.css", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in answer.headers
    assert answer.headers["vary"] == "Accept-Encoding"
    assert "immutable" in answer.headers["cache-control"]
