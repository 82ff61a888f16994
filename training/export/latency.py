"""Measures latency side by side: variants take turns, so that a busy moment of the machine slows all of them."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from registry.core.media import FloatArray
from registry.core.runtime import default_threads, open_session
from registry.versions.bundle import Machine
from registry.versions.predictor import CHUNK

PER_ROUND = 12
TRIES = 3
LIBRARIES = ("openvino", "onnxruntime", "torch", "nncf", "numpy")
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8", "asimd", "bf16", "i8mm")


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one call; `rounds` are the medians of each round."""

    p50: float
    p95: float
    rounds: tuple[float, ...]


def latencies(
    sessions: Mapping[str, Callable[[FloatArray], Any]], shape: tuple[int, ...], rounds: int
) -> dict[str, Latency]:
    """Times each session on one input of `shape` [C, H, W], batch 1, in `rounds` interleaved rounds.

    p50 is the median of the rounds' medians, p95 the median of their 95th percentiles.
    """
    batch = np.random.default_rng(0).random((1, *shape), dtype=np.float32)
    for session in sessions.values():
        for _ in range(3):
            session(batch)
    rows: dict[str, list[tuple[float, float]]] = {name: [] for name in sessions}
    for turn in range(rounds):
        names = list(sessions)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            times = _timed(sessions[name], batch)
            rows[name].append((float(np.median(times)), float(np.quantile(times, 0.95))))
    return {
        name: Latency(
            p50=float(np.median([a for a, _ in pairs])),
            p95=float(np.median([b for _, b in pairs])),
            rounds=tuple(a for a, _ in pairs),
        )
        for name, pairs in rows.items()
    }


def _timed(session: Callable[[FloatArray], Any], batch: FloatArray) -> list[float]:
    session(batch)  # warms the caches, which have another network's weights
    times = []
    for _ in range(PER_ROUND):
        began = time.perf_counter()
        session(batch)
        times.append((time.perf_counter() - began) * 1e3)
    return times


def machine(threads: int) -> Machine:
    """The properties of this machine that latency depends on."""
    name, flags = _cpu()
    versions = {}
    for library in LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return Machine(
        cpu=name,
        flags=tuple(flag for flag in FLAGS if flag in flags),
        threads=threads or default_threads(),
        libraries=versions,
    )


def survives(path: Path, shape: tuple[int, ...], threads: int) -> bool:
    """Whether OpenVINO runs a quantised network, tried in another process.

    OpenVINO 2026.4.1 crashes on some int8 networks (a pruned MobileNetV2 at 64 x 64, on AVX-512 CPUs), some of them for
    one number of rows only. The crash must not take this stage, or a service, with it, so every number is tried that
    they may ask for.
    """
    command = [sys.executable, "-m", "training.export.latency", str(path), str(threads), *map(str, shape)]
    done = subprocess.run(command, capture_output=True, timeout=300, check=False)
    return done.returncode == 0


def _try(path: Path, threads: int, shape: tuple[int, ...]) -> None:
    session, rng = open_session(path, "openvino", "int8", threads), np.random.default_rng(0)
    for rows in range(1, CHUNK + 1):
        for _ in range(TRIES):
            session(rng.random((rows, *shape), dtype=np.float32))


def has_bf16() -> bool:
    """Whether this CPU has bfloat16 instructions that OpenVINO uses."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _cpu() -> tuple[str, frozenset[str]]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            lines = dict(line.split(":", 1) for line in stream.read().split("\n\n")[0].splitlines() if ":" in line)
    except OSError:
        return platform.processor() or platform.machine(), frozenset()
    fields = {key.strip(): value.strip() for key, value in lines.items()}
    flags = (fields.get("flags") or fields.get("Features") or "").split()
    return fields.get("model name") or platform.machine(), frozenset(flags)


if __name__ == "__main__":
    _try(Path(sys.argv[1]), int(sys.argv[2]), tuple(int(size) for size in sys.argv[3:]))
