"""Trains, registers and serves every model, one after the other."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from flows import steps, story
from flows.demo import one_model
from flows.demo.fresh_start import reset
from flows.stack import places
from flows.stack.control import Stack
from flows.terminal_progress import show_progress
from registry.contract import catalog
from registry.contract.spec import ModelSpec
from registry.core import journal
from registry.core.errors import VisionloopError, first_line
from registry.core.settings import settings


@dataclass(frozen=True)
class Outcome:
    """The result of one model. `problem`: "" if it is served."""

    spec: ModelSpec
    seconds: float
    problem: str = ""


def run(*, fresh: bool, sure: bool) -> None:
    """Trains, registers and serves every model, and asks each for a prediction. A failure does not stop the others.

    Raises:
        VisionloopError: models failed; it names them all.
    """
    console, specs = Console(), [catalog.get(name) for name in steps.active_models()]
    places.check(settings())
    if fresh:
        reset([spec.name for spec in specs], console, sure=sure)
    with journal.run():
        _run(specs, console)


def _run(specs: list[ModelSpec], console: Console) -> None:
    story.begin(f"{len(specs)} models: trained, registered, served", plan=[spec.title for spec in specs])
    began, lines = time.perf_counter(), list[Outcome]()
    try:
        with show_progress(console):
            one_model.start_stack(console)
            lines = [_one(spec) for spec in specs]
    except BaseException as error:
        story.end(f"The story ended early: {first_line(error)}", outcome="failed")
        raise
    failed = [line for line in lines if line.problem]
    seconds = time.perf_counter() - began
    text = f"{len(lines) - len(failed)} of {len(lines)} models are served after {seconds / 60:.1f} minutes."
    story.end(text, outcome="failed" if failed else "done")
    (console if sys.stdout.isatty() else Console(width=150)).print(table(lines))
    console.print(f"[bold]{text}[/] {memory()}. The story: {settings().home_address}", highlight=False)
    console.print(f"The web application: {settings().web_address}", highlight=False)
    one_model.tell_login(console)
    if failed:
        raise VisionloopError(
            "; ".join(f"{line.spec.name}: {line.problem}" for line in failed),
            expected="every model to be served",
            fix="`visionloop decisions MODEL` says why a version was refused: where training ran out of time, raise "
            "max_seconds in params.yaml; then `visionloop demo --all` continues. `visionloop logs` says more",
        )


def _one(spec: ModelSpec) -> Outcome:
    began = time.perf_counter()
    try:
        with journal.step("model", spec.title, spec.name, usually_s=240) as running:
            one_model.loop(spec.name)
            one_model.predict(spec)
            running.note = served(spec.name)
    except VisionloopError as error:
        return Outcome(spec, time.perf_counter() - began, first_line(error))
    return Outcome(spec, time.perf_counter() - began)


def live_manifest(model: str) -> Any:
    """Number and manifest of the live version."""
    from registry.versions.mlflow_registry import Versions
    from serving.releases import store

    live = store.live(model)
    assert live is not None, "one_model.loop raises if no version is live"
    versions = Versions()
    return live.version, versions.fetch(versions.get(model, live.version)).manifest


def served(model: str) -> str:
    number, manifest = live_manifest(model)
    chosen = manifest.chosen
    return f"version {number}, {manifest.metric} {manifest.score.value:.3f}, {chosen.p50_ms:.1f} ms"


def table(lines: list[Outcome]) -> Table:
    """One row per model: its live version, metric, speed and size."""
    made = Table(box=box.SIMPLE)
    for name in ("model", "metric", "95 % interval", "serves", "p50 ms", "MB", "minutes"):
        made.add_column(name, justify="left" if name in ("model", "serves") else "right", no_wrap=name == "model")
    for line in lines:
        minutes = f"{line.seconds / 60:.1f}"
        if line.problem:
            made.add_row(line.spec.name, "", "", line.problem, "", "", minutes, style="red")
            continue
        number, manifest = live_manifest(line.spec.name)
        score, chosen = manifest.score, manifest.chosen
        made.add_row(
            line.spec.name,
            f"{line.spec.metric.title} {score.value:.3f}",
            f"{score.low:.3f} to {score.high:.3f}",
            f"version {number}, {chosen.name}",
            f"{chosen.p50_ms:.1f}",
            f"{chosen.size_mb:.1f}",
            minutes,
        )
    return made


def memory() -> str:
    """The resident memory of all services. Shared pages count for each."""
    found = [one for one in Stack().status() if one.name.startswith(tuple(catalog.names()))]
    return f"The {len(found)} services take {sum(one.memory_mb for one in found) / 1000:.2f} GB"
