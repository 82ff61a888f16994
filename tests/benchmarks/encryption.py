"""What encryption at rest costs: `python -m tests.benchmarks.encryption`. Files lie in a temporary folder.

Plain and encrypted writes and uploads to a real service take turns, and the best of each counts: other work on the
machine only adds.
"""

from __future__ import annotations

import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx

from registry.contract import catalog
from registry.core.files import write_file
from registry.core.settings import settings
from registry.encryption import files, rotation
from registry.encryption.files import Reader, Writer
from tests.databases import own_database
from tests.detector_bundle import make_detector_bundle
from tests.serving.local_api import answering
from tests.serving.tasks.asking import MODEL, PICTURE

MB = 10**6
BIG_MB, PIECE = 500, 4 * 2**20
KEPT = (50_000, MB, 20 * MB, 200 * MB)
ROUNDS, ROTATED = 101, 2000


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["VISIONLOOP_ROOT"] = folder
        settings.cache_clear()
        root = Path(folder)
        if sys.argv[1:] == ["big"]:
            print(_big(root / "video"))
            return
        print(subprocess.run([sys.executable, "-m", __spec__.name, "big"], capture_output=True, text=True).stdout)
        _kept(root)
        _rotation(root)


def _big(path: Path) -> str:
    """A file of BIG_MB in pieces, in a process of its own: throughput and the growth of the process."""
    piece, before = os.urandom(PIECE), _peak_mb()
    with Writer.create(path, "video") as out:
        began = time.perf_counter()
        for _ in range(BIG_MB * MB // PIECE):
            out.write(piece)
        written = time.perf_counter() - began
        out.finish()
    durable = time.perf_counter() - began
    with Reader(path, "video") as file:
        size, began = file.size, time.perf_counter()
        for _ in file.pieces():
            pass
        read = time.perf_counter() - began
        began = time.perf_counter()
        file.read(size // 2, 65536)
        part = time.perf_counter() - began
    speeds = [size / MB / seconds for seconds in (written, durable, read)]
    return (
        f"{size / MB:.0f} MB: written {speeds[0]:.0f} MB/s, with fsync {speeds[1]:.0f}, read {speeds[2]:.0f} MB/s, "
        f"64 KiB from the middle {1000 * part:.1f} ms, memory +{_peak_mb() - before:.1f} MB"
    )


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def _kept(root: Path) -> None:
    spec = catalog.get(MODEL)
    bundle = make_detector_bundle(root / "bundle", spec)
    print("| input | plain ms | encrypted ms | more ms | POST tasks ms | share |\n|---|---|---|---|---|---|")
    database = own_database(root / "var" / "visionloop.db")
    with database, answering(spec, bundle.path) as (address, _), httpx.Client(base_url=address, timeout=60) as client:
        for size in KEPT:
            body = PICTURE + os.urandom(size)
            works: dict[str, Callable[[], object]] = {
                "plain": partial(write_file, root / "plain", body),
                "encrypted": partial(files.write_file, root / "encrypted", body, "encrypted"),
                "upload": partial(_submit, client, body),
            }
            best = dict.fromkeys(works, math.inf)
            for number in range(ROUNDS if size <= MB else 7):
                for name in sorted(works, reverse=number % 2 == 1):  # each after each: the disk is still writing
                    best[name] = min(best[name], _timed(works[name]))
            more = best["encrypted"] - best["plain"]
            figures = (f"{best['plain']:.2f}", f"{best['encrypted']:.2f}", f"{more:.2f}", f"{best['upload']:.1f}")
            print(f"| {size / MB:g} MB | {' | '.join(figures)} | {more / best['upload']:.1%} |")


def _submit(client: httpx.Client, body: bytes) -> None:
    task = client.post("/tasks", content=body).raise_for_status().json()
    client.delete(task["url"])


def _timed(work: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def _rotation(root: Path) -> None:
    for number in range(ROTATED):
        files.write_file(root / "many" / f"{number % 10}" / f"{number}", PICTURE, str(number))
    rotation.begin(rotation.count_by_keys(root / "many"))
    took = _timed(lambda: rotation.rotate(root / "many", lambda *_: None))
    print(f"\nrotation: {ROTATED} files in {took:.0f} ms, {1000 * took / ROTATED:.0f} us each")


if __name__ == "__main__":
    main()
