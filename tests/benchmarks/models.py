"""`python -m tests.benchmarks.models MODEL`: measures the figures of docs/benchmarks.md on this machine.

It measures the newest version, so the loop must have run (`make demo`). Keep the machine quiet.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from registry.core.settings import settings


def main(model: str) -> int:
    """Prints Markdown. Returns the number of parts that failed."""
    settings().apply_environment()
    if not _bundle(model).is_dir():
        print(f"nothing to measure yet: `make demo MODEL={model}` makes a version of it")
        return 0
    print(
        f"Measured {time.strftime('%Y-%m-%d')} on {_cpu()}, {os.cpu_count()} cores, Python {platform.python_version()}."
    )
    failures = 0
    for title, part in (
        ("Command line", _command_line),
        ("A run without a change", lambda: _no_change(model)),
        ("Training and compression", lambda: _module("tests.benchmarks.compression", model, "--tracking")),
        ("Serving", lambda: _module("tests.benchmarks.service", "--model", model, "--rounds", "5")),
        ("False alarms", lambda: _module("tests.benchmarks.calibration", str(_bundle(model)))),
    ):
        print(f"\n## {title}\n", flush=True)
        failures += bool(part())
    return failures


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _bundle(model: str) -> Path:
    """The newest version's bundle on this machine."""
    folder = settings().var / "bundles" / model
    found = sorted(folder.iterdir(), key=lambda path: int(path.name)) if folder.is_dir() else []
    return found[-1] if found else settings().build / model / "bundle"


def _timed(work: Callable[[], object], rounds: int) -> list[float]:
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return found


def _visionloop(*argv: str) -> None:
    command = [sys.executable, "-m", "flows.cli", *argv]
    subprocess.run(command, check=True, cwd=settings().root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _command_line() -> int:
    times = _timed(lambda: _visionloop("--help"), 11)
    print("| command | median s | spread s |\n|---|---|---|")
    print(f"| `visionloop --help` | {statistics.median(times):.3f} | {min(times):.3f} to {max(times):.3f} |")
    return 0


def _no_change(model: str) -> int:
    """`visionloop run` with nothing to do, against the last full run in the journal."""
    from registry.core import journal

    steps = ("data", "validate", "train", "compress", "evaluate", "register", "decide", "package", "release")
    first: dict[str, float] = {}
    for line in journal.read()[0]:
        if line.get("kind") == "finish" and line.get("outcome") == "done" and line["step"] in steps:
            first.setdefault(line["step"], float(line["seconds"]))
    whole = sum(first.values())
    times = _timed(lambda: _visionloop("run", model), 5)
    middle = statistics.median(times)
    print("| what | s | of the full run |\n|---|---|---|")
    print(f"| full run, the steps' sum | {whole:.1f} | |")
    share = f"{middle / whole:.1%}" if whole else "no full run is in the journal"
    print(f"| no change (median of 5, {min(times):.2f} to {max(times):.2f}) | {middle:.2f} | {share} |")
    return 0


def _module(*argv: str) -> int:
    return subprocess.run([sys.executable, "-m", *argv], check=False, cwd=settings().root).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "skin_segmentation"))
