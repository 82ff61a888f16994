"""The loop: the steps in order.

`Tasks` holds the functions that it calls. They run in this process (`--local`), or as Prefect tasks with retries and
time limits (`flows.orchestration.flows`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flows import steps
from flows.steps.dvc_stages import OnLine
from registry.core import journal
from registry.core.errors import Refused
from registry.versions.mlflow_registry import CHAMPION, Version, Versions

if TYPE_CHECKING:
    from monitoring.drift.verdict import Verdict


@dataclass(frozen=True)
class Tasks:
    """One function per step, with the arguments of the one in `flows.steps`."""

    data: Callable[..., Any] = steps.prepare_data
    labels: Callable[..., tuple[int, str]] = steps.take_labels
    build: Callable[..., Any] = steps.build
    register: Callable[..., Version] = steps.register
    decide: Callable[..., bool] = steps.decide
    package: Callable[..., str] = steps.package
    release: Callable[..., Any] = steps.release
    watch: Callable[..., Verdict] = steps.watch


IN_PROCESS = Tasks()


@dataclass(frozen=True)
class Outcome:
    """The result of a run. `live`: whether the version gets the traffic now."""

    version: Version
    granted: bool
    live: bool

    def __str__(self) -> str:
        return f"{self.version} {'live' if self.live else 'champion' if self.granted else 'not promoted'}"


def run(
    model: str,
    *,
    tasks: Tasks = IN_PROCESS,
    on_line: OnLine = lambda _: None,
    asked_by: str,
    why: str,
    serve: bool = True,
    start: str | None = None,
) -> Outcome:
    """Data -> checks -> train -> compress -> evaluate -> register -> decide -> package -> release.

    Args:
        on_line: gets each line of the stages' output.
        start: what training starts from, "scratch" or "champion". None: as before, and from scratch the first time.

    Raises:
        NotFound: `start` is "champion", and there is no champion.
        VisionloopError: a step failed. The next run continues from there.
    """
    if start == "champion":
        Versions().get(model)  # where there is none, it says so now, and not after the wait and the data
    with steps.exclusive(model):
        tasks.data(model)
        if start:
            steps.prepare_start(model, Versions().get(model) if start == "champion" else None)
        steps.ensure_start(model)
        return _from_build(model, tasks, on_line, asked_by, why, None, serve)


def _from_build(
    model: str, tasks: Tasks, on_line: OnLine, asked_by: str, why: str, must_win_on: str | None, serve: bool
) -> Outcome:
    bundle = tasks.build(model, on_line)
    version = tasks.register(model, bundle)
    steps.note_learned(model, version.number)
    granted = tasks.decide(version, asked_by, why, must_win_on)
    if not granted or not serve:
        return Outcome(version, granted, live=False)
    if not steps.is_live(version):
        tag = tasks.package(version)
        tasks.release(version, tag)
    return Outcome(version, granted, live=True)


def retrain(
    model: str,
    verdict: str,
    *,
    tasks: Tasks = IN_PROCESS,
    on_line: OnLine = lambda _: None,
    asked_by: str,
    serve: bool = True,
) -> Outcome:
    """Adds labelled predictions to the data and fine-tunes the champion, which must get better where it drifted.

    Args:
        verdict: its id; "": the latest.

    Raises:
        NotFound: there is no such verdict.
        Refused: there are no new labels, or there is no champion to start from.
    """
    verdict = steps.find_verdict(model, verdict).id
    with journal.step("retrain", "Retrain", model, usually_s=110) as running, steps.exclusive(model):
        champion = Versions().find(model, CHAMPION)
        if champion is None:
            raise Refused(f"{model} has no champion to fine-tune", fix=f"`visionloop run {model}` trains one first")
        _, origin = tasks.labels(model, verdict)
        steps.prepare_start(model, champion)
        outcome = _from_build(
            model, tasks, on_line, asked_by, f"retraining after drift verdict {verdict}", f"origin={origin}", serve
        )
        word = "promoted" if outcome.granted else "refused by the gate"
        running.note = f"version {outcome.version.number}, fine-tuned from version {champion.number}: {word}"
    return outcome


def monitor(
    model: str, *, tasks: Tasks = IN_PROCESS, last: int | None = None, since: float | None = None
) -> Verdict | str:
    """Judges the recent predictions. The verdict says what to do about them.

    Returns the reason, in words, if the model is not watched, or if there is nothing new to judge. `last` or `since`
    asks for a verdict on what there is.
    """
    reason = steps.unwatched_reason(model) or ("" if last or since else steps.pending_reason(model))
    return reason or tasks.watch(model, last=last, since=since)
