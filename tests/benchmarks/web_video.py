"""The upload of a long video: how much memory it takes, and which share of its time encryption has."""

from __future__ import annotations

import http.client
import os
import struct
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil

from registry.encryption.files import Writer
from tests.benchmarks.web_site import MODEL, Site
from tests.clips import make_clip
from tests.serving.runs.asking import over

MB = 10**6
PIECE = 1 << 20
LOOK_S = 0.02
WATCHED = ("web", "router")


@dataclass
class Memory:
    """Resident memory of a process in MB: before an upload, the most while it lasts, and after its prediction."""

    before: list[float] = field(default_factory=list)
    highest: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)

    @property
    def growth(self) -> list[float]:
        return [highest - before for highest, before in zip(self.highest, self.before, strict=True)]


@dataclass
class VideoFigures:
    """Seconds of each upload, and of the same bytes written to the disk in the clear and encrypted.

    Attributes:
        memory: by process. From the beginning of an upload until its prediction is done.
    """

    memory: dict[str, Memory]
    upload_s: list[float] = field(default_factory=list)
    plain_s: list[float] = field(default_factory=list)
    encrypted_s: list[float] = field(default_factory=list)

    @property
    def encryption(self) -> list[float]:
        """The share of encryption in the time of each upload, taken from its own round."""
        rounds = zip(self.encrypted_s, self.plain_s, self.upload_s, strict=True)
        return [max(0.0, encrypted - plain) / upload for encrypted, plain, upload in rounds]


def measure(site: Site, megabytes: int, rounds: int, progress: Callable[[str], None]) -> VideoFigures:
    """`rounds` uploads of a video of so many megabytes, each predicted and removed."""
    figures = VideoFigures({name: Memory() for name in WATCHED})
    video = site.config.root / "video.mp4"
    _write_video(video, megabytes * MB)
    pids = {name: site.process(name) for name in WATCHED}
    with closing(site.people[0].client(site.address)) as client:
        for _ in range(rounds):
            with _watched(pids, figures.memory):
                run, seconds = _send(client, video)
                progress("upload")
                found = over(client, run, 600)
                assert found["state"] == "done", found
            figures.upload_s.append(seconds)
            client.delete(f"/uploads/{run}").raise_for_status()
            progress("prediction")
            figures.plain_s.append(_written(video.with_name("copy"), megabytes, _plain))
            figures.encrypted_s.append(_written(video.with_name("copy"), megabytes, _encrypted))
            progress("encryption")
    video.unlink()
    return figures


def _write_video(path: Path, size: int) -> None:
    """A short clip, and after it a box `free` of random bytes that players pass over: nothing is easy to compress."""
    clip = make_clip(frames=8, size=(160, 120))
    left = size - len(clip) - 16
    with path.open("wb") as out:
        out.write(clip)
        out.write(struct.pack(">I4sQ", 1, b"free", left + 16))
        while left > 0:
            left -= out.write(os.urandom(min(PIECE, left)))


def _send(client: httpx.Client, video: Path) -> tuple[str, float]:
    """The id of the run, and the seconds from the first byte to the answer."""
    size = video.stat().st_size
    with video.open("rb") as file:
        asked = {"model": MODEL, "name": video.name, "size": size, "consent": True}
        begun = client.post("/uploads", json={**asked, "start": b64encode(file.read(1 << 16)).decode()})
        run = begun.raise_for_status().json()["id"]
        file.seek(0)
        parts = urlsplit(str(client.base_url))
        line = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=600, blocksize=PIECE)
        cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        headers = {"Cookie": cookies, "X-CSRFToken": client.headers["X-CSRFToken"], "Upload-Offset": "0"}
        began = time.perf_counter()
        line.request("PUT", f"/uploads/{run}", file, {**headers, "Content-Length": str(size)})
        answer = line.getresponse()
        content = answer.read()
        seconds = time.perf_counter() - began
        line.close()
    assert answer.status == 200, content
    return run, seconds


@contextmanager
def _watched(pids: dict[str, int], memory: dict[str, Memory]) -> Iterator[None]:
    """Looks at the memory of processes until the block ends."""
    processes = {name: psutil.Process(pid) for name, pid in pids.items()}
    highest = dict.fromkeys(pids, 0.0)
    ended = threading.Event()

    def now() -> dict[str, float]:
        return {name: process.memory_info().rss / MB for name, process in processes.items()}

    def look() -> None:
        while not ended.wait(LOOK_S):
            for name, megabytes in now().items():
                highest[name] = max(highest[name], megabytes)

    before = now()
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    after = now()
    for name, found in memory.items():
        found.before.append(before[name])
        found.highest.append(max(highest[name], before[name], after[name]))
        found.after.append(after[name])


def _written(target: Path, megabytes: int, write: Callable[[Path, Iterator[bytes]], None]) -> float:
    """The seconds that a file on the disk takes, written piece by piece as uploads are, with its end made durable."""
    pieces = repeat(os.urandom(PIECE), megabytes * MB // PIECE)
    began = time.perf_counter()
    write(target, pieces)
    seconds = time.perf_counter() - began
    target.unlink()
    return seconds


def _plain(path: Path, pieces: Iterator[bytes]) -> None:
    with path.open("wb", buffering=0) as out:
        for piece in pieces:
            out.write(piece)
        os.fsync(out.fileno())


def _encrypted(path: Path, pieces: Iterator[bytes]) -> None:
    with Writer.create(path, "video") as out:
        for piece in pieces:
            out.write(piece)
        out.finish()
