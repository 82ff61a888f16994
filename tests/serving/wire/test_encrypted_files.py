"""Encrypted files over HTTP: what Starlette says of the same file in the clear is the second opinion."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from registry.core.settings import settings
from registry.encryption.files import write_file
from serving.wire.encrypted_files import file_response

CONTENT = random.Random(3).randbytes((1 << 20) + 5000)
SIZE = len(CONTENT)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("files")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISIONLOOP_ROOT", str(folder))
        settings.cache_clear()
        for name, content in (("video", CONTENT), ("nothing", b"")):
            (folder / f"{name}.plain").write_bytes(content)
            write_file(folder / f"{name}.encrypted", content, name)

        def plain(request: Request) -> Response:
            return FileResponse(_plain(folder, request), headers={"X-Own": "1"}, media_type="video/webm")

        def encrypted(request: Request) -> Response:
            name = request.path_params["name"]
            return file_response(request, folder / f"{name}.encrypted", name, {"X-Own": "1"}, "video/webm")

        def old(request: Request) -> Response:
            return file_response(request, _plain(folder, request), "", {"X-Own": "1"}, "video/webm")

        routes = [Route(f"/{one.__name__}/{{name}}", one) for one in (plain, encrypted, old)]
        yield TestClient(Starlette(routes=routes))
    settings.cache_clear()


def _plain(folder: Path, request: Request) -> Path:
    return folder / f"{request.path_params['name']}.plain"


RANGES = [
    "",
    "bytes=0-",
    "bytes=0-0",
    "bytes=10-19",
    "Bytes = 10 - 19",
    f"bytes={(1 << 20) - 300}-{(1 << 20) + 300}",
    f"bytes={SIZE - 1}-",
    f"bytes=5-{SIZE + 100}",
    "bytes=-1",
    "bytes=-5000",
    f"bytes=-{SIZE + 10}",
    f"bytes={SIZE}-",
    f"bytes={SIZE + 9}-{SIZE + 10}",
]
FACTS = ("content-length", "content-range", "content-type", "accept-ranges", "x-own")


@pytest.mark.parametrize("kind", ["encrypted", "old"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("asked", RANGES)
def test_the_answer_is_that_of_a_plain_file(client: TestClient, kind: str, method: str, asked: str) -> None:
    headers = {"Range": asked} if asked else {}
    theirs, ours = (client.request(method, f"/{one}/video", headers=headers) for one in ("plain", kind))
    assert ours.status_code == theirs.status_code
    if ours.status_code != 416:
        assert ours.content == theirs.content
        assert [ours.headers.get(name) for name in FACTS] == [theirs.headers.get(name) for name in FACTS]
    else:
        assert ours.headers["content-range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize("asked", ["bytes=5-4", "bytes=a-b", "bytes=-", "lines=1-2", "bytes=0-1,5-6", "banana"])
def test_what_is_not_one_range_gets_the_whole_file(client: TestClient, asked: str) -> None:
    answer = client.get("/encrypted/video", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, CONTENT)


def test_a_range_of_another_file_than_before_gets_the_whole_file(client: TestClient) -> None:
    first = client.get("/encrypted/video", headers={"Range": "bytes=0-9"})
    for name in ("etag", "last-modified"):
        again = client.get("/encrypted/video", headers={"Range": "bytes=0-9", "If-Range": first.headers[name]})
        assert again.status_code == 206
    other = client.get("/encrypted/video", headers={"Range": "bytes=0-9", "If-Range": '"another"'})
    assert (other.status_code, other.content) == (200, CONTENT)


def test_an_empty_file(client: TestClient) -> None:
    assert client.get("/encrypted/nothing").content == b""
    assert client.get("/encrypted/nothing", headers={"Range": "bytes=0-"}).status_code == 416
