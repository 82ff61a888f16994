"""Any process may end in the middle: an upload goes on, a run is finished, or says why not and can be tried again."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from registry.core.settings import settings
from registry.vision.picture import to_jpeg
from serving.releases import packaging
from tests.clips import make_clip, scene
from tests.conftest import PROJECT
from tests.serving.conftest import Processes
from tests.serving.runs.asking import begin, over, send, upload
from tests.waiting import until

pytestmark = pytest.mark.slow

PICTURE = to_jpeg(scene(2, 160, 120))
LARGE = to_jpeg(np.random.default_rng(0).integers(0, 255, (1500, 2000, 3), np.uint8), 95)
"""Some MiB: several segments of an encrypted file."""


def restart_web(processes: Processes, hard: bool) -> None:
    one = processes.running["web"]
    os.kill(one.pid, signal.SIGKILL if hard else signal.SIGTERM)
    one.process.wait()
    processes.stop("web")
    env = {**settings().child_environment(), "PYTHONPATH": str(PROJECT)}
    processes.start("web", [sys.executable, "-m", "serving.launchers.web"], env, f"{settings().web_address}/healthz")


def cut_off(client: httpx.Client, identity: str, content: bytes, end: int) -> None:
    """Sends the beginning of a file, then drops the connection."""

    def pieces() -> Iterator[bytes]:
        for at in range(0, end, 65536):
            yield content[at : min(at + 65536, end)]
        time.sleep(0.5)
        raise ConnectionError("the line is cut")

    headers = {"Upload-Offset": "0", "Content-Length": str(len(content))}
    with pytest.raises(ConnectionError):
        client.put(f"/uploads/{identity}", content=pieces(), headers=headers)


@pytest.mark.parametrize("how", ["line", "stop", "kill"])
def test_an_interrupted_upload_goes_on_where_it_stopped(
    anna: httpx.Client, detector: str, processes: Processes, how: str
) -> None:
    identity = begin(anna, detector, f"{how}.jpg", LARGE).json()["id"]
    cut_off(anna, identity, LARGE, len(LARGE) - 1000)
    if how != "line":
        restart_web(processes, hard=how == "kill")
    again = begin(anna, detector, f"{how}.jpg", LARGE).json()  # as the page does after a reload
    assert again["id"] == identity
    offset = until(lambda: anna.get(f"/uploads/{identity}").json()["offset"], 10)
    assert 2**20 < offset < len(LARGE)
    assert send(anna, identity, LARGE, offset).status_code == 200
    assert over(anna, identity)["state"] == "done"
    assert anna.get(f"/files/{identity}/input").content == LARGE


def test_a_wrong_offset_is_refused(anna: httpx.Client, detector: str) -> None:
    identity = begin(anna, detector, "offset.jpg", LARGE).json()["id"]
    cut_off(anna, identity, LARGE, 3 * 2**20)
    refused = send(anna, identity, LARGE, 17)
    assert refused.status_code == 409
    assert "not 17" in refused.json()["found"]


def test_a_video_survives_a_killed_web_process(anna: httpx.Client, detector: str, processes: Processes) -> None:
    clip = make_clip(300, (192, 128), encoder={"preset": "ultrafast"})
    identity = upload(anna, detector, "long.mp4", clip)
    until(lambda: anna.get(f"/uploads/{identity}").json()["state"] == "running", 30)
    restart_web(processes, hard=True)
    assert over(anna, identity, 120)["state"] == "done"


def test_a_run_waits_for_a_router_that_comes_back(
    anna: httpx.Client, detector: str, router: str, processes: Processes
) -> None:
    one = processes.running["router"]
    os.kill(one.pid, signal.SIGKILL)
    one.process.wait()
    processes.stop("router")
    try:
        identity = upload(anna, detector, "patient.jpg", PICTURE)
        time.sleep(3)
        assert anna.get(f"/uploads/{identity}").json()["state"] == "waiting"
    finally:
        env = {**settings().child_environment(), "PYTHONPATH": str(PROJECT)}
        processes.start("router", [sys.executable, "-m", "serving.launchers.router"], env, f"{router}/healthz")
    assert over(anna, identity)["state"] == "done"


def test_a_damaged_file_fails_with_the_reason_and_can_be_tried_again(anna: httpx.Client, detector: str) -> None:
    identity = upload(anna, detector, "half.jpg", PICTURE[: len(PICTURE) // 2])
    ended = over(anna, identity)
    assert (ended["state"], ended["error"]["error"]) == ("failed", "BadInput")
    assert "truncated" in ended["error"]["found"]
    page = anna.get(f"/runs/{identity}/").text
    assert f"/runs/{identity}/retry" in page
    anna.post(f"/runs/{identity}/retry")
    assert over(anna, identity)["state"] == "failed"


def test_a_model_without_a_version_says_so_before_anything_is_sent(anna: httpx.Client) -> None:
    refused = begin(anna, "weapon_detection", "no.jpg", PICTURE)
    assert (refused.status_code, refused.json()["error"]) == (503, "NotServed")


def test_a_run_waits_for_a_service_that_comes_back(anna: httpx.Client, detector: str, processes: Processes) -> None:
    name = next(one for one in processes.running if one.startswith(detector))
    service = processes.running[name]
    argv = [str(one) for one in service.process.args]  # type: ignore[union-attr]
    os.kill(service.pid, signal.SIGKILL)
    service.process.wait()
    processes.stop(name)
    try:
        identity = upload(anna, detector, "later.jpg", PICTURE)
        time.sleep(2)
        assert anna.get(f"/uploads/{identity}").json()["state"] in ("waiting", "running")
    finally:
        processes.start(name, argv, packaging.serve_environment(), f"{service.url}/readyz")
    assert over(anna, identity)["state"] == "done"
