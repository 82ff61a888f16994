"""The stack with its supervisor: whichever process is killed in an upload or a prediction, neither is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from flows.stack.control import Stack
from registry.contract import catalog
from registry.vision.picture import to_jpeg
from serving.releases import deploy, packaging
from tests.clips import make_clip
from tests.databases import own_database
from tests.detector_bundle import make_detector_bundle
from tests.flows.conftest import own_settings, taken_down
from tests.serving import people
from tests.serving.controlled import Numbered
from tests.serving.runs.asking import begin, send, upload
from tests.waiting import gone, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

MODEL = "object_detection"
PARTS = ("keeper", "releases", "router", "guard", "web")
LARGE = to_jpeg(np.random.default_rng(0).integers(0, 255, (1500, 2000, 3), np.uint8), 95)
"""Some MiB: several segments of an encrypted file."""
BACK_S = 240


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, str]]:
    """A stack with a live version, and the name of its service."""
    root = tmp_path_factory.mktemp("killed")
    with own_settings(root) as config, taken_down(config) as stack, own_database(config.var / "visionloop.db"):
        config.apply_environment()
        stack.up(PARTS)
        version = Numbered(MODEL, 1)
        tag = packaging.package(version, make_detector_bundle(root / "bundle", catalog.get(MODEL), work=4))
        deploy.follow(deploy.roll_out(version, tag, anyway="a test"))
        stack.wait()
        yield stack, packaging.process_name(tag)


def kill(stack: Stack, name: str) -> None:
    """`kill -9`. What the supervisor starts again, it starts; after the supervisor's own end a person runs `up`."""
    pid = next(one for one in stack.status() if one.name == ("web" if name == "supervisor" else name)).pid
    if name != "supervisor":
        os.kill(pid, signal.SIGKILL)
        return
    children = [one.pid for one in stack.status() if one.pid]
    os.kill(psutil.Process(pid).ppid(), signal.SIGKILL)
    until(lambda: gone(*children))  # the reaper ends what a dead supervisor had started
    stack.up(PARTS)
    stack.wait()


def patiently(look: Callable[[], Any]) -> Any:
    """What `look` finds, once it finds something; the web application may be away meanwhile."""
    return until(look, BACK_S, errors=(httpx.TransportError,))


def ended(client: httpx.Client, identity: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = client.get(f"/uploads/{identity}").json()
        return found if found["state"] in ("done", "failed", "cancelled") else None

    return patiently(look)  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["web", "router", "service", "keeper", "supervisor"])
def test_nothing_is_lost_when_a_process_is_killed(running: tuple[Stack, str], name: str) -> None:
    stack, service = running
    victim = service if name == "service" else name
    with closing(people.make(f"{name}@example.org")[0].client(stack.config.web_address)) as client:
        identity = begin(client, MODEL, "large.jpg", LARGE).json()["id"]

        def pieces() -> Iterator[bytes]:
            half = len(LARGE) * 3 // 4
            for at in range(0, half, 65536):
                yield LARGE[at : min(at + 65536, half)]
            kill(stack, victim)
            yield LARGE[half:]

        headers = {"Upload-Offset": "0", "Content-Length": str(len(LARGE))}
        with suppress(httpx.TransportError):
            client.put(f"/uploads/{identity}", content=pieces(), headers=headers)
        state = patiently(lambda: client.get(f"/uploads/{identity}").json())
        if state["state"] == "uploading":
            assert send(client, identity, LARGE, state["offset"]).status_code == 200
        assert ended(client, identity)["state"] == "done"
        assert client.get(f"/files/{identity}/input").content == LARGE

        identity = upload(client, MODEL, "long.mp4", make_clip(300, (192, 128), encoder={"preset": "ultrafast"}))
        patiently(lambda: client.get(f"/uploads/{identity}").json()["state"] != "waiting")
        kill(stack, victim)
        if ended(client, identity)["state"] == "failed":
            assert f"/runs/{identity}/retry" in client.get(f"/runs/{identity}/").text
            client.post(f"/runs/{identity}/retry")
            assert ended(client, identity)["state"] == "done"
