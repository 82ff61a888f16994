"""The router in front of real services: streaming, limits, switches under load, and services that die."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from flows.cli import cli
from flows.demo import stream
from registry.core.errors import BadInput, NotServed
from registry.core.settings import settings
from serving.client.clients import Client
from serving.releases import deploy, endpoints, store
from serving.releases.packaging import process_name, serve_command, serve_environment
from serving.router import forwarding
from tests.bundles import MODEL, make_scan
from tests.serving import controlled
from tests.serving.conftest import Packaged, Processes, Running, retire_all
from tests.serving.inputs import REFUSED
from tests.serving.removal import withdraw
from tests.waiting import until

RAW = {"Content-Type": "application/gzip"}
PREDICT = f"/v1/models/{MODEL}/predict"


@pytest.fixture(autouse=True)
def no_release(router: str, processes: Processes) -> Iterator[None]:
    """Each test begins and ends without a released version."""
    yield
    retire_all(processes)
    withdraw(MODEL)
    _wait(router, None)


@pytest.fixture
def released(router: str, service: Running, packaged: dict[int, Packaged]) -> str:
    """The router with version 1 behind it."""
    endpoints.announce(MODEL, 1, service.url, packaged[1].tag)
    store.switch(MODEL, 1)
    _wait(router, 1)
    return router


def _wait(router: str, version: int | None) -> None:
    until(lambda: httpx.get(f"{router}/-/routes").json()["routes"].get(MODEL, {}).get("version") == version, 10)


def test_passes_requests_and_answers_through(released: str, service: Running) -> None:
    body = make_scan(3)
    for accept in ("application/json", "application/x-nifti", "image/jpeg"):
        headers = {**RAW, "Accept": accept}
        there = httpx.post(f"{released}{PREDICT}", content=body, headers=headers)
        straight = httpx.post(f"{service.url}/predict", content=body, headers=headers)
        assert there.status_code == 200
        assert there.headers["content-type"] == accept
        for name in ("x-model-version", "x-release-role"):
            assert there.headers[name] == straight.headers[name]
        if accept != "application/json":
            assert there.content == straight.content
    form = httpx.post(f"{released}{PREDICT}", params={"format": "jpg"}, files={"file": body})
    assert form.headers["content-type"] == "image/jpeg"


def test_an_explanation_comes_through(released: str) -> None:
    answer = httpx.post(f"{released}{PREDICT}?explain=true", content=make_scan(3), headers=RAW, timeout=30)
    assert base64.b64decode(answer.json()["explanation"]["image"]).startswith(b"\xff\xd8")


def test_the_command_line_writes_the_heat_map_beside_the_answer(released: str, tmp_path: Path) -> None:
    scan, heat, mask = tmp_path / "scan.nii.gz", tmp_path / "heat.jpg", tmp_path / "mask.nii.gz"
    scan.write_bytes(make_scan(3))
    asked = ["predict", MODEL, str(scan), "--explain", str(heat)]
    done = CliRunner().invoke(cli, asked)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["explanation"]["network_calls"] == 65
    assert "image" not in found["explanation"]
    assert heat.read_bytes().startswith(b"\xff\xd8")
    heat.unlink()
    assert CliRunner().invoke(cli, [*asked, "--out", str(mask)]).exit_code == 0
    assert heat.read_bytes().startswith(b"\xff\xd8")
    assert mask.read_bytes().startswith(b"\x1f\x8b")
    wrong = CliRunner().invoke(cli, [*asked[:-1], str(tmp_path / "heat.txt")])
    assert isinstance(wrong.exception, BadInput)


def test_documents_hold_behind_the_router(released: str) -> None:
    base = f"{released}/v1/models/{MODEL}"
    assert httpx.get(f"{base}/openapi.json").json()["servers"][0]["url"] == "./"
    assert httpx.get(f"{base}/static_content/swagger-ui-bundle.js").status_code == 200
    (listed,) = [one for one in httpx.get(f"{released}/v1/models").json()["models"] if one["name"] == MODEL]
    assert listed["version"] == 1
    assert listed["predict"] == PREDICT
    assert httpx.get(f"{released}{listed['docs']}").status_code == 200


def test_a_refusal_of_the_service_comes_through(released: str) -> None:
    body, status, says = next(iter(REFUSED.values()))
    answer = httpx.post(f"{released}{PREDICT}", content=body, headers=RAW)
    assert (answer.status_code, says in answer.json()["found"]) == (status, True)


def test_without_a_released_version_it_says_so(router: str) -> None:
    """At once, and for good: nobody is told to try again in a second, nor to run commands that a caller has not."""
    answer = httpx.post(f"{router}{PREDICT}", content=make_scan(1), headers=RAW)
    assert (answer.status_code, answer.json()["error"]) == (503, "NotServed")
    assert "retry-after" not in answer.headers
    assert "no version of" in answer.json()["found"]
    assert "visionloop" not in answer.text
    began = time.monotonic()
    with Client(router) as client, pytest.raises(NotServed) as caught:
        client.predict(MODEL, make_scan(1))
    assert (caught.value.status, caught.value.retry_after_s) == (503, None)
    assert stream.play(MODEL, None, 0.5, 1, 1, router) == []
    assert time.monotonic() - began < 10, "it went on trying"


def test_a_released_version_whose_service_is_not_up_is_worth_another_try(router: str) -> None:
    from django.db import transaction

    from serving.releases.models import Endpoint

    with transaction.atomic():  # the router must not see it with its address, where it would wait for a restart
        endpoints.announce(MODEL, 77, "http://127.0.0.1:9", "77")
        store.switch(MODEL, 77)
        Endpoint.objects.filter(model=MODEL, version=77).delete()  # as at the start of a stack

    def ask() -> httpx.Response:
        return httpx.post(f"{router}{PREDICT}", content=b"x")

    try:
        until(lambda: ask().json()["error"] != "NotServed", 10)
        answer = ask()
    finally:
        withdraw(MODEL)
    assert (answer.json()["error"], answer.headers["retry-after"]) == ("MissingService", "1")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/v1/models/skin_segmentaton/predict", "did you mean"),
        ("/v1/models/xyz/predict", "GET /v1/models"),
        ("/nowhere", "GET /v1/models"),
    ],
)
def test_unknown_addresses_are_404_with_a_hint(router: str, path: str, says: str) -> None:
    answer = httpx.post(f"{router}{path}", content=b"x")
    assert answer.status_code == 404
    assert says in answer.json()["fix"]


@pytest.mark.parametrize("path", ["nothing", "predict%0d%0aX-Evil:%201", "predict%3Fformat=jpg", "%2e%2e/x", "a%20b"])
def test_odd_paths_are_404_and_forge_no_second_request(released: str, path: str) -> None:
    answer = httpx.post(f"{released}/v1/models/{MODEL}/{path}", content=make_scan(1), headers=RAW)
    assert answer.status_code == 404
    assert ("x-release-role" in answer.headers) == (path == "nothing"), "only a plain path reaches a service"
    assert httpx.post(f"{released}{PREDICT}", content=make_scan(1), headers=RAW).status_code == 200


def test_a_2_gb_upload_is_refused_before_it_is_read(released: str) -> None:
    host, port = released.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as line:
        line.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: {2 << 30}\r\n\r\n".encode() + b"\0" * 999)
        answer = b"".join(iter(lambda: line.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"2,147,483,648 bytes" in answer


def test_an_upload_of_unknown_length_is_cut_off_at_the_limit(released: str) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(2048):
            sent += 1 << 20
            yield b"\0" * (1 << 20)

    answer = httpx.post(f"{released}{PREDICT}", content=endless(), headers=RAW, timeout=60)
    assert (answer.status_code, answer.json()["error"]) == (413, "TooLarge")
    assert sent < (settings().max_upload_mb + 64) << 20


def test_a_large_body_is_streamed_through(released: str) -> None:
    body = make_scan(1, (700, 700, 20), noise=0.3)
    assert len(body) > 8 << 20
    answer = httpx.post(f"{released}{PREDICT}", content=body, headers=RAW, timeout=60)
    assert answer.status_code == 200
    assert answer.json()["shape"] == [700, 700, 20]


def test_a_service_killed_during_a_request_gives_a_clean_503(
    router: str, processes: Processes, packaged: dict[int, Packaged]
) -> None:
    victim = _start(processes, packaged[1], "victim")
    endpoints.announce(MODEL, 1, victim.url, packaged[1].tag)
    store.switch(MODEL, 1)
    _wait(router, 1)

    async def kill_during_requests() -> list[httpx.Response]:
        async with httpx.AsyncClient(timeout=30) as client:
            big = make_scan(1, (600, 600, 16), noise=0.3)
            running = [
                asyncio.create_task(client.post(f"{router}{PREDICT}", content=big, headers=RAW)) for _ in range(3)
            ]
            while not httpx.get(f"{router}/-/routes").json()["in_flight"]:
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.05)
            victim.process.kill()
            return await asyncio.gather(*running)

    answers = asyncio.run(kill_during_requests())
    assert {answer.status_code for answer in answers} == {503}
    for answer in answers:
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["error"] == "MissingService"
    began = time.monotonic()
    after = httpx.post(f"{router}{PREDICT}", content=make_scan(1), headers=RAW, timeout=60)
    assert after.status_code == 503
    assert "does not answer" in after.json()["found"]
    assert time.monotonic() - began >= forwarding.MAX_HOLD_S, "it must have waited for a restart"
    assert httpx.get(f"{router}/-/routes").json()["in_flight"] == {}


def test_finds_a_service_that_moved(released: str, processes: Processes, packaged: dict[int, Packaged]) -> None:
    """The table still names a dead address; the request finds the new one without being told to try again."""
    moved = _start(processes, packaged[1], "moved")
    endpoints.announce(MODEL, 1, f"http://127.0.0.1:{deploy.free_port()}", packaged[1].tag)
    time.sleep(0.6)
    endpoints.announce(MODEL, 1, moved.url, packaged[1].tag)
    assert httpx.post(f"{released}{PREDICT}", content=make_scan(1), headers=RAW).status_code == 200
    processes.stop("moved")


def test_roll_out_under_load_drops_no_request(router: str, processes: Processes, packaged: dict[int, Packaged]) -> None:
    one, two = packaged[1], packaged[2]
    first = controlled.roll_out(one.version, one.tag, processes, router)
    assert process_name(one.tag) in processes.running

    async def load(stop: asyncio.Event, seen: list[tuple[float, int, str]]) -> None:
        async with httpx.AsyncClient(timeout=30) as client:
            body = make_scan(1)
            while not stop.is_set():
                began = time.monotonic()
                answer = await client.post(f"{router}{PREDICT}", content=body, headers=RAW)
                seen.append((began, answer.status_code, answer.headers.get("x-model-version", "")))
                await asyncio.sleep(0.02)  # leaves the new service some of the machine to start on

    async def roll_out_and_back() -> list[tuple[float, int, str]]:
        stop, seen = asyncio.Event(), list[tuple[float, int, str]]()
        callers = [asyncio.create_task(load(stop, seen)) for _ in range(4)]
        await asyncio.to_thread(controlled.roll_out, two.version, two.tag, processes, router)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(controlled.roll_out, one.version, one.tag, processes, router)
        await asyncio.sleep(0.5)
        stop.set()
        await asyncio.gather(*callers)
        return seen

    seen = asyncio.run(roll_out_and_back())
    assert {status for _, status, _ in seen} == {200}
    assert {version for _, _, version in seen} == {"1", "2"}
    assert max(seen)[2] == "1", "what began last; one that began before the switch may end after it"
    names = {process_name(one.tag), process_name(two.tag)}
    assert names <= processes.running.keys(), "the version before is kept warm"
    plan = store.plan(MODEL)
    assert plan is not None
    assert plan.revision == first.revision + 2
    assert controlled.roll_out(one.version, one.tag, processes, router) == plan  # nothing to do


def test_a_roll_out_that_fails_leaves_the_old_version_serving(
    released: str, processes: Processes, packaged: dict[int, Packaged]
) -> None:
    from registry.core.errors import MissingService

    before, two = store.live(MODEL), packaged[2]

    class Broken(Processes):
        def start(self, name, argv, env, ready_url, restart=True):  # type: ignore[no-untyped-def]
            return super().start(name, [*argv, "--no-such-option"], env, ready_url, restart)

    broken = Broken(settings().var / "logs")
    with pytest.raises(MissingService, match="no-such-option"):
        controlled.roll_out(two.version, two.tag, broken, released)
    assert store.live(MODEL) == before
    assert not broken.running
    answer = httpx.post(f"{released}{PREDICT}", content=make_scan(1), headers=RAW)
    assert answer.status_code == 200
    assert answer.headers["x-model-version"] == "1"


def _start(processes: Processes, one: Packaged, name: str) -> Running:
    port = deploy.free_port()
    return processes.start(name, serve_command(one.tag, port), serve_environment(), f"http://127.0.0.1:{port}/readyz")
