"""The loop in order. `Steps` holds what it calls: plain functions (`--local`), or Prefect's tasks of the same functions
(`flows.orchestration.flows`), with retries and time limits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flows import steps
from flows.steps.dvc_stages import Say
from registry.core.errors import Refused
from registry.versions.mlflow_registry import CHAMPION, Version, Versions

if TYPE_CHECKING:
    from monitoring.drift.verdict import Verdict


@dataclass(frozen=True)
class Steps:
    """What the loop calls for each step, with the arguments of `flows.steps`."""

    data: Callable[..., Any] = steps.prepare_data
    labels: Callable[..., tuple[int, str]] = steps.take_labels
    build: Callable[..., Any] = steps.build
    register: Callable[..., Version] = steps.register
    decide: Callable[..., bool] = steps.decide
    package: Callable[..., str] = steps.package
    release: Callable[..., Any] = steps.release
    watch: Callable[..., Verdict] = steps.watch


PLAIN = Steps()


def silent(line: str) -> None:
    """Nobody reads the stages' output; what matters of it is in the journal."""


@dataclass(frozen=True)
class Outcome:
    """What a run of the loop ended with. `live`: whether the version gets the traffic now."""

    version: Version
    granted: bool
    live: bool


def run(
    model: str,
    *,
    do: Steps = PLAIN,
    say: Say = silent,
    asked_by: str = "the command line",
    why: str = "run of the loop",
    must_win_on: str | None = None,
    serve: bool = True,
    start: str | None = None,
) -> Outcome:
    """Data -> checks -> train -> compress -> evaluate -> register -> decide -> package -> release.

    Args:
        start: what training starts from, "scratch" or "champion"; None: as before, from scratch the first time.

    Raises:
        NotFound: it is to start from the champion, and there is none.
        VisionloopError: the step that failed says why; a run after the fix goes on from there.
    """
    with steps.exclusive(model):
        do.data(model)
        if start:
            steps.prepare_start(model, Versions().get(model) if start == "champion" else None)
        steps.ensure_start(model)
        return _from_build(model, do, say, asked_by, why, must_win_on, serve)


def _from_build(
    model: str, do: Steps, say: Say, asked_by: str, why: str, must_win_on: str | None, serve: bool
) -> Outcome:
    bundle = do.build(model, say)
    version = do.register(model, bundle)
    steps.note_learned(model, version.number)
    granted = do.decide(version, asked_by, why, must_win_on)
    if not granted or not serve:
        return Outcome(version, granted, live=False)
    if not steps.released(version):
        tag = do.package(version)
        do.release(version, tag)
    return Outcome(version, granted, live=True)


def retrain(
    model: str, verdict: str, *, do: Steps = PLAIN, say: Say = silent, asked_by: str, serve: bool = True
) -> Outcome:
    """Labelled predictions become data, the champion is fine-tuned on it, and must win where it drifted.

    Raises:
        Refused: there are no new labels, or no champion to start from.
    """
    from registry.core import journal

    with journal.step("retrain", "Retrain", model, usually_s=110) as running, steps.exclusive(model):
        champion = Versions().find(model, CHAMPION)
        if champion is None:
            raise Refused(f"{model} has no champion to fine-tune", fix=f"`visionloop run {model}` trains one first")
        _, origin = do.labels(model, verdict)
        steps.prepare_start(model, champion)
        outcome = _from_build(
            model, do, say, asked_by, f"retraining after drift verdict {verdict}", f"origin={origin}", serve
        )
        word = "promoted" if outcome.granted else "refused by the gate"
        running.note = f"version {outcome.version.number}, fine-tuned from version {champion.number}: {word}"
    return outcome


def monitor(model: str, *, do: Steps = PLAIN, last: int | None = None, since: float | None = None) -> Verdict | str:
    """One look at the recent predictions; the verdict says what to do about them.

    Where nothing new came there is none, but what is waited for, in words. Who says what to look at gets a verdict.
    """
    waited_for = "" if last or since else steps.waited_for(model)
    if waited_for:
        return waited_for
    return do.watch(model, last=last, since=since)
