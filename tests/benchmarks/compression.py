"""Measures the variants of a compressed model side by side, and the cost of tracking, for docs/benchmarks.md:
`python -m tests.benchmarks.compression MODEL [--rounds 9] [--tracking]` prints the ratios as a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from registry.core.errors import NotFound, VisionloopError
from registry.core.media import FloatArray
from registry.core.runtime import Engine, Numerics, open_session
from training.export import latency
from training.export.choose_variant import SERVING
from training.export.latency import Latency
from training.stages.variants import REPORT, Report
from training.workspace.workspace import Workspace, open_workspace

FILES: dict[tuple[str, str], str] = {
    ("onnxruntime", "f32"): "{}.onnx",
    ("openvino", "f32"): "{}.xml",
    ("openvino", "bf16"): "{}.xml",
    ("openvino", "int8"): "{}_int8.xml",
}
TRACKED_EPOCHS = 2
GAIN = 0.85


@dataclass(frozen=True)
class Goals:
    """Greatest ratios of latencies that we aim for: engine in f32 / eager, best numerics / eager, pruned / unpruned."""

    f32: float
    best: float | None
    pruned: float


GOALS = {
    "segmentation": Goals(0.60, None, 0.60),
    "detection": Goals(0.45, 0.35, 0.80),
    "classification": Goals(0.35, 0.20, 0.60),
    "features": Goals(0.35, 0.20, 0.60),
}


def bench(stage: Workspace, rounds: int, tracking: bool) -> str:
    """The report as Markdown. Needs build/<model>/compress of a training from scratch.

    Raises:
        NotFound: the model was not compressed yet.
    """
    from training.engines.select import engine_of, hooks_of

    engine_of(stage.spec).use_threads(stage.settings.threads)
    folder = stage.folder("compress")
    if not (folder / REPORT).is_file():
        raise NotFound(
            f"{folder} is not there",
            expected="compressed variants",
            fix=f"python -m training compress {stage.spec.name}",
        )
    report = Report.read(folder / REPORT)
    shape = hooks_of(stage.spec).input_shape(stage.params)
    times = latency.latencies(_sessions(stage, folder, report), shape, rounds)
    parts = [_heading(stage, shape, rounds), _table(report, times), _ratios(stage, report, times)]
    if tracking:
        parts.append(_tracking(stage, rounds=3))
    return "\n\n".join(parts)


def _sessions(stage: Workspace, folder: Path, report: Report) -> dict[str, Callable[[FloatArray], Any]]:
    """Every variant of the report that is ours, opened again."""
    from training.engines.select import engine_of, hooks_of
    from training.workspace.checkpoint import load_weights

    framework, hooks = engine_of(stage.spec), hooks_of(stage.spec)
    sessions: dict[str, Callable[[FloatArray], Any]] = {}
    for row in report.variants:
        slug = row.name.split()[0].replace("-", "_")
        if row.engine == framework.name:
            model = framework.restore(hooks, stage.params, load_weights(folder / f"{slug}.safetensors"))
            sessions[row.name] = framework.session(hooks, model)
            continue
        engine: Engine = "openvino" if row.engine == "openvino" else "onnxruntime"
        numerics: Numerics = "bf16" if row.numerics == "bf16" else "int8" if row.numerics == "int8" else "f32"
        path = folder / FILES[engine, numerics].format(slug)
        sessions[row.name] = open_session(path, engine, numerics, stage.settings.threads)
    return sessions


def _heading(stage: Workspace, shape: tuple[int, ...], rounds: int) -> str:
    machine = latency.machine(stage.settings.threads)
    return (
        f"{stage.spec.title}: one input {' x '.join(map(str, shape))}, batch 1, {machine.threads} threads, {rounds} "
        f"interleaved rounds of {latency.PER_ROUND} calls, medians; {machine.cpu} ({', '.join(machine.flags)}); "
        + ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    )


def _table(report: Report, times: dict[str, Latency]) -> str:
    eager = times[report.variants[0].name].p50
    lines = [
        "| variant | metric (95 % interval) | p50 ms | rounds min to max | p95 ms | / eager f32 | MB | MMACs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in report.variants:
        if row.name not in times:
            continue
        t = times[row.name]
        lines.append(
            f"| {row.name}{' (serves)' if row.chosen else ''} | {row.score.value:.4f} ({row.score.low:.4f} to "
            f"{row.score.high:.4f}) | {t.p50:.2f} | {min(t.rounds):.2f} to {max(t.rounds):.2f} | {t.p95:.2f} | "
            f"{t.p50 / eager:.2f} | {row.size_mb:.1f} | {row.macs / 1e6:.0f} |"
        )
    return "\n".join(lines)


def _ratios(stage: Workspace, report: Report, times: dict[str, Latency]) -> str:
    """The goals: engine against eager, pruned against unpruned, time gained against MACs gained."""
    rows = {row.name: row for row in report.variants}
    goals = GOALS[stage.spec.task]
    whole = report.variants[0]
    lines = ["| ratio | engine | found | goal |", "|---|---|---|---|"]

    def line(what: str, engine: str, found: float, goal: float | None, sign: str = "<=") -> None:
        lines.append(f"| {what} | {engine} | {found:.2f} | {f'{sign} {goal:.2f}' if goal else ''} |")

    def against_eager(name: str) -> float:
        return float(np.median(np.array(times[name].rounds) / np.array(times[whole.name].rounds)))

    served = [name for name in times if rows[name].engine in SERVING]
    same = [name for name in served if name.startswith(whole.name.split()[0])]
    for name in same:
        if name.endswith(" f32"):
            line("f32 / eager", name, against_eager(name), goals.f32)
    exact = [name for name in served if stage.spec.metric.better_by(whole.score.value, rows[name].score.value) <= 0.01]
    if exact:
        best = min(exact, key=lambda name: times[name].p50)
        line("best within 1 point of the metric / eager", best, against_eager(best), goals.best)
    for name in times:
        other = name.replace("pruned", "dense", 1)
        if not name.startswith("pruned") or other not in times:
            continue
        share = float(np.median(np.array(times[name].rounds) / np.array(times[other].rounds)))
        engine = name.removeprefix("pruned ")
        gained = stage.spec.metric.better_by(rows[name].score.value, rows[other].score.value)
        line(f"pruned / unpruned (metric {gained:+.4f})", engine, share, goals.pruned)
        macs = rows[name].macs / rows[other].macs
        what = f"share of time saved / share of MACs saved ({1 - share:.2f} / {1 - macs:.2f})"
        line(what, engine, (1 - share) / (1 - macs), GAIN, ">=")
    return "\n".join(lines)


def _tracking(stage: Workspace, rounds: int) -> str:
    """Seconds of the training loop with and without MLflow (SQLite, system metrics on), taking turns."""
    from training.stages.runs import run_description
    from training.stages.tracking import Tracker, open_client

    pairs = []
    with tempfile.TemporaryDirectory(dir=stage.settings.var) as name:
        folder = Path(name)
        address = f"sqlite:///{folder / 'mlflow.db'}"
        open_client(address).search_experiments()  # imports MLflow and makes its tables: once a process
        _loop(stage, None)
        for turn in range(rounds):
            tracker = Tracker(folder / str(turn), run_description(stage), address)
            tracker.start()
            tracked = _loop(stage, tracker)
            tracker.close()
            pairs.append(tracked / _loop(stage, None))
    return (
        f"| training loop with tracking / without | {rounds} turns of {TRACKED_EPOCHS} epochs | "
        f"{float(np.median(pairs)):.3f} ({min(pairs):.3f} to {max(pairs):.3f}) | <= 1.02 |"
    )


def _loop(stage: Workspace, tracker: Any) -> float:
    from training.engines import loop
    from training.engines.select import engine_of, hooks_of
    from training.workspace.course import TrainingListener

    engine, hooks = engine_of(stage.spec), hooks_of(stage.spec)
    recipe = stage.recipe().model_copy(update={"epochs": TRACKED_EPOCHS, "max_seconds": 3600.0})
    model = engine.build(hooks, stage.params, recipe.seed)
    listener = TrainingListener(epoch=tracker.row) if tracker else None
    began = time.perf_counter()
    loop.fit(engine, stage.spec, hooks, model, stage.teaching, stage.params, recipe, listener=listener)
    return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=9, help="interleaved rounds of the latency measurement")
    parser.add_argument("--tracking", action="store_true", help="also time a short training with and without MLflow")
    given = parser.parse_args()
    os.environ.pop("GOMP_SPINCOUNT", None)  # eager PyTorch at its best: on a quiet machine long spins suit it
    try:
        print(bench(open_workspace(given.model), given.rounds, given.tracking))
    except VisionloopError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
