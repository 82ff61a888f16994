"""Inputs from addresses: what a service fetches, and what it must never be talked into fetching."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx
import pytest

from registry.contract import catalog
from registry.core.errors import BadInput, Overloaded, TooLarge
from registry.core.settings import settings
from registry.vision.picture import to_jpeg
from serving.wire.fetching import fetch, is_public
from tests.clips import scene
from tests.detector_bundle import make_detector_bundle
from tests.serving.local_api import answering

PICTURE = to_jpeg(scene(1, 160, 120))
HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"


def here(address: str) -> bool:
    """Stands in for "public": the one address that these tests may reach."""
    return address == HERE


@pytest.fixture(scope="module")
def site() -> Iterator[tuple[str, list[str]]]:
    """The address of a small web site, and the paths it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path + self.headers.get("Cookie", ""))
            port = self.server.server_address[1]
            moved = {
                "/moved": "/picture.jpg",
                "/inside": f"http://{ELSEWHERE}:{port}/secret",
                "/by-name": f"http://localhost:{port}/secret",
                "/metadata": "http://169.254.169.254/latest/meta-data",
                "/circled": f"http://\u2460\u2461\u2466.0.0.2:{port}/secret",
                "/wide": f"//127\u30020\u30020\u30022:{port}/secret",
                "/cookie": "/picture.jpg",
                "/file": "file:///etc/passwd",
                "/loop": "/loop",
            }.get(self.path)
            self.send_response(302 if moved else 404 if self.path == "/nothing" else 200)
            if moved:
                self.send_header("Location", moved.encode().decode("latin-1"))
                self.send_header("Set-Cookie", "crumb=1")
            self.end_headers()
            if self.path == "/picture.jpg":
                self.wfile.write(PICTURE)
            if self.path == "/slow":
                time.sleep(2)
            if self.path == "/large":
                self.wfile.write(bytes(1 << 20))

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer((HERE, 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{HERE}:{server.server_port}", asked
    server.shutdown()


@pytest.mark.parametrize("path", ["/picture.jpg", "/moved"])
def test_a_file_is_fetched_also_after_a_redirect(site: tuple[str, list[str]], path: str) -> None:
    assert asyncio.run(fetch(site[0] + path, 1 << 20, here)) == PICTURE


def test_a_cookie_of_one_answer_is_not_sent_with_the_next_question(site: tuple[str, list[str]]) -> None:
    by_name = site[0].replace(HERE, "localhost")  # of an address no client keeps any
    assert asyncio.run(fetch(f"{by_name}/cookie", 1 << 20, lambda _: True)) == PICTURE
    assert site[1][-2:] == ["/cookie", "/picture.jpg"]


@pytest.mark.parametrize("path", ["/inside", "/by-name", "/metadata", "/circled", "/wide"])
def test_a_redirect_to_where_it_may_not_go_is_not_followed(site: tuple[str, list[str]], path: str) -> None:
    allowed = here if path != "/by-name" else _first_only()
    with pytest.raises(BadInput, match="not a public address"):
        asyncio.run(fetch(site[0] + path, 1 << 20, allowed))
    assert "/secret" not in site[1]


def _first_only():  # type: ignore[no-untyped-def]
    """Allows the address in the URL, then none: a name is asked about when it is resolved."""
    answers = iter([True])
    return lambda address: next(answers, False)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/nothing", "answers 404"),
        ("/loop", "redirects more than 3 times"),
        ("/slow", "did not answer within 0.5 s"),
        ("/file", "the address is 'file:"),
    ],
)
def test_what_cannot_be_fetched_is_said(site: tuple[str, list[str]], path: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        asyncio.run(fetch(site[0] + path, 1 << 20, here, limit_s=0.5))


def test_no_more_is_read_than_allowed(site: tuple[str, list[str]]) -> None:
    with pytest.raises(TooLarge):
        asyncio.run(fetch(site[0] + "/large", 1000, here))


def test_what_comes_is_told_and_may_be_refused(site: tuple[str, list[str]]) -> None:
    sizes: list[int] = []
    asyncio.run(fetch(site[0] + "/large", 1 << 20, here, on_bytes=sizes.append))
    assert sum(sizes) == 1 << 20

    def full(size: int) -> None:
        raise Overloaded("there is no room", retry_after_s=1)

    with pytest.raises(Overloaded):
        asyncio.run(fetch(site[0] + "/large", 1 << 20, here, on_bytes=full))


@pytest.mark.parametrize(
    "url", ["", "ftp://example.com/a", "file:///etc/passwd", "http://", "http://a:b@example.com/", "http://[", "//x/y"]
)
def test_other_schemes_and_broken_addresses_are_refused(url: str) -> None:
    with pytest.raises(BadInput, match="the address is"):
        asyncio.run(fetch(url, 1000))


def test_a_name_that_takes_long_to_read_is_refused_unread() -> None:
    with pytest.raises(BadInput, match="100,007 characters"):
        asyncio.run(fetch("http://" + 100_000 * "\u00e4", 1000))


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        *(
            (one, False)
            for one in (
                "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
                "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
                "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::", "::7f00:1",
                "::ffff:0:7f00:1", "fec0::1",
            )
        ),
    ],
)  # fmt: skip
def test_public_is_the_open_internet_only(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.fixture(scope="module")
def client(project: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A service that may fetch."""
    spec = catalog.get("object_detection")
    bundle = make_detector_bundle(tmp_path_factory.mktemp("fetching") / "bundle", spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISIONLOOP_ALLOW_URL_INPUTS", "true")
        settings.cache_clear()
        with answering(spec, bundle.path) as (address, _), httpx.Client(base_url=address, timeout=60) as one:
            yield one
    settings.cache_clear()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "[::1]", "0.0.0.0",
        "2130706433", "0x7f000001", "0x7f.1", "017700000001", "0177.0.0.1", "127.1", "127.0.0.1.", "localhost.",
        "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]",
        "127\u30020\u30020\u30021", "\uff11\uff12\uff17.0.0.1", "\u2460\u2461\u2466.0.0.1", "1\u20827.0.0.1",
        "localhost\u3002", "%31%32%37.0.0.1",
    ],
)  # fmt: skip
def test_a_service_that_may_fetch_fetches_nothing_from_inside(
    client: httpx.Client, site: tuple[str, list[str]], host: str
) -> None:
    port = site[0].rpartition(":")[2]
    before = len(site[1])
    answer = client.post("/predict", json={"url": f"http://{host}:{port}/picture.jpg"})
    assert answer.status_code == 422, answer.text
    listed = client.post("/predict", json={"urls": [f"http://{host}:{port}/picture.jpg"] * 2}).json()["results"]
    assert [one["status"] for one in listed] == [422, 422]
    assert len(site[1]) == before
