"""The demo: the whole loop on starter data, shown on the story page while it runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from flows import steps, story
from flows.demo import unseen
from flows.demo.fresh_start import reset
from flows.orchestration import running
from flows.router_client import router_client
from flows.stack import places
from flows.stack.control import Stack
from flows.stack.first_login import first_login
from flows.terminal_progress import show_progress
from registry.contract import catalog
from registry.contract.spec import ModelSpec
from registry.core import journal
from registry.core.errors import DataError, MissingService, VisionloopError, first_line
from registry.core.files import write_file
from registry.core.settings import settings

if TYPE_CHECKING:
    from monitoring.log.models import Verdict

NORMAL = 32
SHIFTED = 80
"""About a third of the labels are held out. These must be enough for an origin of their own in the drift reference
(monitoring.drift.statistics.MIN_ORIGIN)."""
SHIFTED_WORDS = 240
"""Where a label is a class name. It is quickly given, and teaches less than a mask or boxes do."""
CALM_SEED, BREAK_SEED, REPLAY_SEED = 1000, 1500, 1501
"""Seeds of the input streams. The last stream has the same shift as the one before, but no version was trained on it.
So its scores say something of the inputs that come tomorrow."""
RETRAINING_BEGINS_S = 90.0
RETRAINING_ENDS_S = 900.0


def run(model: str, *, fresh: bool, sure: bool, shift: str, severity: float) -> None:
    """Runs the demo. An error is shown on the story page, and then raised."""
    spec = catalog.get(model)
    if model not in steps.active_models():
        raise DataError(
            f"{model} has no starter data and no data of yours, or params.yaml leaves it out of `models`",
            expected=f"one of {', '.join(steps.active_models())}",
            fix=f"`visionloop data import {model} PATH`, or choose another model",
        )
    console = Console()
    places.check(settings())
    if fresh:
        reset([model], console, sure=sure)
    with journal.run():
        began = time.time()
        story.begin(f"{spec.title}: from data to a retrained model", model)
        try:
            with show_progress(console):
                start_stack(console, model)
                loop(model)
                predict(spec)
                _calm(model)
                verdict = _break(model, shift, severity)
                _retrain(model, verdict)
                _quiet(model, shift, severity, verdict)
        except BaseException as error:
            text = first_line(error) if isinstance(error, VisionloopError) else type(error).__name__
            story.end(f"The story ended early: {text}", outcome="failed")
            _write_story()
            raise
        seconds = time.time() - began
        story.end(f"{spec.title} went through the whole loop in {seconds / 60:.1f} minutes.")
        page = _write_story()
    _print_summary(console, model, page, seconds)


def tell_login(console: Console) -> None:
    """Prints how to log in, if nobody could before."""
    if login := first_login():
        console.print(f"\nIn the web application {login}", highlight=False, markup=False, soft_wrap=True)


def start_stack(console: Console, model: str = "") -> None:
    """Starts the stack and waits until Prefect answers. Draws the model's starter data meanwhile."""
    with journal.step("stack", "Start the stack", usually_s=20) as running_step:
        began = time.perf_counter()
        if not Stack().up():
            running_step.skip("it runs already")
        else:
            journal.fact("stack", f"this page answered after {time.perf_counter() - began:.1f} s")
        console.print(f"  the story page: [bold]{settings().home_address}[/]", highlight=False)
        if model and not steps.has_data(model):
            journal.progress("stack", 0, 0, note="drawing the starter data while the servers start")
            with steps.exclusive(model):
                steps.synthesise(model)
        steps.wait_for(f"{settings().prefect_address}/health", "prefect", 180)
        if not settings().mlflow_uri:  # better now than after the training
            steps.wait_for(f"{settings().mlflow_address}/health", "mlflow", 60)


def loop(model: str) -> None:
    """Runs the loop as a Prefect flow. Raises MissingService if no version is live after it."""
    result = running.run_flow("loop", model=model, asked_by="make demo", why="the demo's first version")
    from serving.releases import store

    if store.live(model) is None:
        raise MissingService(
            f"no version of {model} is live: {result}",
            expected="a version that the gate lets through",
            fix=f"read the decision (`visionloop decisions {model}`); `make demo FRESH=1` starts afresh",
        )


def predict(spec: ModelSpec) -> None:
    """Sends one held-out case to the service, and shows the findings and the picture."""
    with journal.step("predict", "Predict", spec.name, usually_s=3) as running_step:
        case = next(c for c in spec.data.cases(settings().data / spec.name) if c.split == "test")
        with router_client(timeout_s=60) as client:
            found = client.predict(spec.name, case.input)
            picture = client.render(spec.name, case.input, "image/jpeg").content
        path = write_file(settings().var / "story" / f"prediction-{spec.name}.jpg", picture)
        shown = {"version": found.version, "elapsed_ms": found.elapsed_ms, **found.findings}
        plain = {key: value for key, value in shown.items() if isinstance(value, int | float | str)}
        table = {key: f"{value:.4g}" if isinstance(value, float) else str(value) for key, value in plain.items()}
        address = f"{settings().router_address}/v1/models/{spec.name}/predict"
        curl = f"curl -F file=@{case.input.relative_to(settings().root)} {address}"
        journal.fact("predict", f"`{curl}`", spec.name, picture=str(path), caption=case.id, table=table)
        running_step.note = f"version {found.version}, {found.elapsed_ms:.0f} ms"


def _calm(model: str) -> None:
    """Plays normal traffic, which must not raise an alarm."""
    since = time.time()
    with journal.step("calm", "Normal traffic", model, usually_s=6):
        from flows.demo import stream

        stream.play(model, None, 1.0, NORMAL, CALM_SEED, step="calm")
    _wait_logged(model, since, NORMAL)
    verdict = steps.watch(model, since=since, step="calm-verdict")
    journal.fact(
        "calm-verdict", "an alarm on normal traffic" if verdict.drifted else "no alarm, as it should be", model
    )


def _break(model: str, how: str, severity: float) -> Verdict:
    from flows.demo import stream

    since = time.time()
    count = _shifted(model)
    with journal.step("break", f"Break the input: {how}", model, usually_s=10):
        stream.play(model, how, severity, count, BREAK_SEED, label=True)
    _wait_logged(model, since, count)
    running.run_flow("monitor", model=model, since=since)
    return steps.find_verdict(model)


def _shifted(model: str) -> int:
    """How many shifted inputs to play and label."""
    (one,) = catalog.get(model).data.synthesise_stream(1, CALM_SEED)
    return SHIFTED_WORDS if isinstance(one.truth, str) else SHIFTED


def _retrain(model: str, verdict: Verdict) -> None:
    """Waits for the retraining. The monitor's event starts it in the flow worker, and the journal shows it."""
    if verdict.action != "retrain":
        with journal.step("retrain", "Retrain", model) as running_step:
            running_step.skip(
                "not needed: this version knows such inputs already (`make demo FRESH=1` starts all over)"
                if not verdict.drifted
                else f"the verdict asks for {verdict.action!r} instead"
            )
        return
    offset, begun = journal.end_of_file(), False
    limit = time.monotonic() + RETRAINING_BEGINS_S
    while time.monotonic() < limit:
        lines, offset = journal.read(offset)
        for line in lines:
            if (line.get("step"), line.get("model"), line.get("run")) != ("retrain", model, journal.current()):
                continue
            if line.get("kind") == "start":
                begun, limit = True, time.monotonic() + RETRAINING_ENDS_S
            if line.get("kind") == "finish":
                if line.get("outcome") == "failed":
                    raise VisionloopError(
                        f"retraining failed: {line.get('note')}", fix="`visionloop logs flows` says why"
                    )
                return
        time.sleep(0.3)
    raise MissingService(
        "the retraining flow did not " + ("end" if begun else "begin"),
        expected="Prefect's trigger to start it on the drift event",
        fix=f"`visionloop logs flows` says why; `visionloop retrain {model}` starts it by hand",
    )


def _quiet(model: str, how: str, severity: float, before: Verdict) -> None:
    """Plays more of the shifted stream, which no version was trained on, and judges the version that is live now."""
    from flows.demo import stream

    if not before.drifted:
        for step, title in (("replay", "The stream goes on"), ("quiet", "Compare again")):
            with journal.step(step, title, model) as running_step:
                running_step.skip("the stream was quiet already")
        return

    since, count = time.time(), _shifted(model)
    with journal.step("replay", "The stream goes on", model, usually_s=10):
        stream.play(model, how, severity, count, REPLAY_SEED, step="replay")
    _wait_logged(model, since, count)
    after = steps.watch(model, since=since, step="quiet")
    result = "quiet: no drift" if not after.drifted else f"still not quiet: {after.why}"
    if before.version == after.version:
        journal.fact("quiet", result, model)
        return
    metric = catalog.get(model).metric.title
    old, new = unseen.scores(model, (before.version, after.version), how, severity, count, REPLAY_SEED)
    compare = {
        "metric": metric,
        "rows": [{"name": f"{count} shifted inputs that neither version has seen", "before": old, "after": new}],
        "before": f"version {before.version}",
        "after": f"version {after.version}",
    }
    journal.fact("quiet", f"{result}; {metric} {old:.3f} before, {new:.3f} now", model, compare=compare)


def _wait_logged(model: str, since: float, count: int) -> None:
    """Waits until the predictions are in the database, a second or two after their answers."""
    from datetime import UTC, datetime

    from monitoring.log.models import Prediction

    began = datetime.fromtimestamp(since, UTC)
    end = time.monotonic() + 15
    while Prediction.objects.filter(model=model, time__gte=began).count() < count and time.monotonic() < end:
        time.sleep(0.2)


def _write_story() -> Path:
    """Writes this run's story as one file."""
    from flows.story.view import write_story

    statuses = Stack().status() if Stack().running() else ()
    return write_story(settings().var / "story" / "story.html", settings(), statuses, journal.current())


def _print_summary(console: Console, model: str, page: Path, seconds: float) -> None:
    s = settings()
    console.print(f"\n[bold]The whole loop took {seconds / 60:.1f} minutes.[/] Look at:")
    for name, address in (
        ("the web application", s.web_address),
        ("the story, live", s.home_address),
        ("the story, a file", str(page)),
        ("MLflow", s.mlflow_page(model)),
        ("Prefect", s.prefect_page),
        ("the API", f"{s.router_address}/v1/models/{model}/docs"),
        ("drift reports", f"{s.home_address}/reports/  (Evidently's own view: visionloop ui drift)"),
    ):
        console.print(f"  {name:<20} {address}", highlight=False)
    tell_login(console)
    console.print("\nThe stack stays up. [bold]make down[/] (or `visionloop down`) stops it.")
