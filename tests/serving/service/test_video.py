"""Videos through a real Bento over HTTP, and the answer in a real browser."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from registry.contract import catalog
from registry.video import video
from registry.vision.picture import to_jpeg
from serving.releases import deploy, packaging
from tests.clips import make_clip, scene
from tests.detector_bundle import RED, WHITE, make_detector_bundle
from tests.serving.conftest import Numbered, Processes, Running
from tests.waiting import until

MODEL = "object_detection"
LIMIT_S = 6.0


@pytest.fixture(scope="module")
def detector(project: Path, processes: Processes) -> Iterator[Running]:
    """A Bento of object_detection whose callers wait for six seconds; 20 ms a frame."""
    bundle = make_detector_bundle(project / "detector", catalog.get(MODEL), work=12)
    tag = packaging.package(Numbered(MODEL, 1), bundle)
    port = deploy.free_port()
    env = packaging.serve_environment() | {"VISIONLOOP_REQUEST_TIMEOUT_S": str(LIMIT_S)}
    yield processes.start("detector", packaging.serve_command(tag, port), env, f"http://127.0.0.1:{port}/readyz")
    processes.stop("detector")  # it would take the tasks of other tests


@pytest.fixture(scope="module")
def client(detector: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=detector.url, timeout=60, trust_env=False) as one:
        yield one


@pytest.fixture(scope="module")
def clip() -> bytes:
    return make_clip(50, (192, 128), sound="aac", rotation=90)


@pytest.fixture(scope="module")
def annotated(client: httpx.Client, clip: bytes) -> bytes:
    answer = client.post("/predict?format=webm", content=clip, headers={"Content-Type": "video/mp4"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "video/webm"
    assert answer.headers["content-disposition"].endswith('.webm"')
    return answer.content


def test_a_video_gets_tracks_and_counts(client: httpx.Client, clip: bytes) -> None:
    found = client.post("/predict", files={"file": ("clip.mp4", clip, "video/mp4")}).json()
    assert (found["frames"], found["seconds"], found["width"], found["height"]) == (50, 5.0, 128, 192)
    assert {track["class"] for track in found["tracks"]} == {RED, WHITE}
    assert len(found["detections"]) == 50
    assert found["model"] == MODEL
    assert {"decode", "network", "postprocess"} <= set(found["timings_ms"])


def test_the_answer_has_the_frames_the_duration_and_the_sound(annotated: bytes, clip: bytes) -> None:
    before, after = video.open_clip(clip), video.open_clip(annotated)
    assert (after.frames, after.width, after.height, after.audio) == (50, 128, 192, True)
    assert after.seconds == pytest.approx(before.seconds, abs=0.02)


def test_formats_that_do_not_fit_the_input_are_refused(client: httpx.Client, clip: bytes) -> None:
    sheet = client.post("/predict", content=clip, headers={"Accept": "image/jpeg"})
    assert sheet.content.startswith(b"\xff\xd8")
    picture = client.post("/predict", content=to_jpeg(scene(1, 96, 64)), headers={"Accept": "video/webm"})
    assert (picture.status_code, picture.json()["error"]) == (406, "NotAcceptable")
    assert "the input is a picture" in picture.json()["found"]


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (make_clip(5)[:200], 422, "cannot be opened"),
        (b"\x1aE\xdf\xa3" + bytes(400), 422, "cannot be opened"),
        (make_clip(4)[:4] + b"ftypisom" + bytes(200), 422, "cannot be opened"),
    ],
)
def test_bad_videos_get_one_clear_message(client: httpx.Client, body: bytes, status: int, says: str) -> None:
    answer = client.post("/predict", content=body)
    assert (answer.status_code, says in answer.json()["found"]) == (status, True), answer.text
    assert "Traceback" not in answer.text


def test_a_video_that_takes_too_long_is_stopped_and_the_caller_told_what_to_do(client: httpx.Client) -> None:
    body = make_clip(4000, (64, 48), fps=25, encoder={"preset": "ultrafast"})
    began = time.monotonic()
    answer = client.post("/predict", content=body)
    assert answer.status_code == 413, answer.text
    assert "of its 4,000 frames" in answer.json()["found"]
    assert "POST tasks" in answer.json()["fix"]
    assert "visionloop" not in answer.json()["fix"], "a caller has no command line of ours"
    assert time.monotonic() - began < LIMIT_S + 3
    again = time.monotonic()
    assert client.post("/predict", content=to_jpeg(scene(1, 96, 64))).status_code == 200
    assert time.monotonic() - again < 2, "the work has stopped: the service is free again"


def test_the_input_is_kept_under_its_own_ending(client: httpx.Client, clip: bytes, project: Path) -> None:
    identity = client.post("/predict", content=clip).headers["x-prediction-id"]
    kept = until(lambda: list((project / "var" / "inputs" / MODEL).rglob(f"{identity}.*")))
    assert [path.suffix for path in kept] == [".mp4"]


def test_the_service_loads_no_training_framework(detector: Running, annotated: bytes) -> None:
    maps = Path(f"/proc/{detector.pid}/maps").read_text()
    for name in ("/torch/", "/tensorflow/", "/scipy/", "/matplotlib/", "/pandas/", "/supervision/"):
        assert name not in maps, name


PAGE = b"""<!doctype html><video id=v muted playsinline preload=auto src=clip.webm></video>"""
LOOK = """async () => {
  const v = document.getElementById('v');
  const once = (name) => new Promise((done, fail) => {
    v.addEventListener(name, done, {once: true});
    v.addEventListener('error', () => fail(new Error(v.error && v.error.message)), {once: true});
  });
  if (v.readyState < 4) await once('canplaythrough');
  const canvas = document.createElement('canvas');
  canvas.width = v.videoWidth; canvas.height = v.videoHeight;
  const paint = canvas.getContext('2d', {willReadFrequently: true});
  const at = (x, y) => { paint.drawImage(v, 0, 0); return Array.from(paint.getImageData(x, y, 1, 1).data); };
  const corners = [at(10, 40), at(canvas.width - 10, 40)];
  v.currentTime = 3.05; await once('seeked');
  const sought = [v.currentTime, at(canvas.width - 10, 40)];
  v.currentTime = 0; await once('seeked');
  await v.play();
  await new Promise((done) => setTimeout(done, 900));
  const played = v.currentTime;
  v.pause();
  return {state: v.readyState, width: v.videoWidth, height: v.videoHeight, duration: v.duration, corners, sought,
          played, heard: v.webkitAudioDecodedByteCount, frames: v.getVideoPlaybackQuality().totalVideoFrames};
}"""


def _site(body: bytes) -> ThreadingHTTPServer:
    """A page with the video. It answers ranges, as browsers ask for them when they seek."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content, kind = (body, "video/webm") if self.path.endswith(".webm") else (PAGE, "text/html")
            first, last = 0, len(content) - 1
            if span := self.headers.get("Range"):
                low, _, high = span.removeprefix("bytes=").partition("-")
                first, last = int(low), min(int(high or last), last)
            self.send_response(206 if span else 200)
            self.send_header("Content-Type", kind)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(last - first + 1))
            if span:
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            self.end_headers()
            self.wfile.write(content[first : last + 1])

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    playwright = pytest.importorskip("playwright.sync_api")
    if not chromium:
        pytest.skip("this machine has no Chromium")
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        running = driver.chromium.launch(executable_path=chromium, args=arguments)
        yield running
        running.close()


def seen(browser: Any, body: bytes) -> dict[str, Any]:
    server = _site(body)
    try:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        return dict(page.evaluate(LOOK))
    finally:
        server.shutdown()


def test_a_browser_plays_it(browser: Any, annotated: bytes) -> None:
    found = seen(browser, annotated)
    told = json.dumps(found)
    assert found["state"] == 4, told
    assert (found["width"], found["height"]) == (128, 192), told
    assert found["duration"] == pytest.approx(5.0, abs=0.05), told
    assert 0.3 < found["played"] < 2.5, told
    assert found["frames"] > 3, told
    assert found["heard"] > 0, told
    left, right = found["corners"]
    assert sum(right[:3]) > 600, "the white corner, turned to the right"
    assert 120 < sum(left[:3]) < 420, "the grey background, not black"
    assert found["sought"][0] == pytest.approx(3.05)
    assert sum(found["sought"][1][:3]) > 600


def test_a_browser_plays_odd_sizes_and_a_variable_rate(browser: Any, client: httpx.Client) -> None:
    times = [0.1 * n + (0.04 if n % 3 else 0) for n in range(50)]
    body = make_clip(50, (121, 75), times=times, container="matroska", codec="ffv1", pixel_format="bgr0")
    answer = client.post("/predict", content=body, headers={"Accept": "video/webm"})
    found = seen(browser, answer.content)
    assert (found["width"], found["height"]) == (121, 75)
    assert found["duration"] == pytest.approx(5.0, abs=0.1)
    assert sum(found["corners"][1][:3]) > 120, "not black"
