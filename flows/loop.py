"""The loop in order. It is run bare (`--local`) or inside a Prefect flow: `do` is what makes a step a task.

bare(step, function, *args)     calls the function
flows.orchestration.tasks(...)  runs it as a Prefect task, with retries and a time limit
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from flows import steps
from flows.versioning import Say
from registry.errors import Refused
from registry.versions import CHAMPION, Version, Versions

if TYPE_CHECKING:
    from monitoring.verdict import Verdict

T = TypeVar("T")


class Do(Protocol):
    """Runs one step."""

    def __call__(self, name: str, function: Callable[..., T], *args: Any, **kwargs: Any) -> T: ...


def bare(name: str, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    return function(*args, **kwargs)


def silent(line: str) -> None:
    """Takes the stages' output when nobody wants it; the journal tells the story anyway."""


@dataclass(frozen=True)
class Outcome:
    """What a run of the loop ended with. `live`: whether the version gets the traffic now."""

    version: Version
    granted: bool
    live: bool


def run(
    model: str,
    *,
    do: Do = bare,
    say: Say = silent,
    asked_by: str = "the command line",
    why: str = "run of the loop",
    must_win_on: str | None = None,
    serve: bool = True,
) -> Outcome:
    """Data -> checks -> train -> compress -> evaluate -> register -> decide -> package -> release.

    Raises:
        VisionloopError: the step that failed says why; a run after the mend goes on from there.
    """
    with steps.exclusive(model):
        do("data", steps.prepare_data, model)
        steps.ensure_start(model)
        return _from_build(model, do, say, asked_by, why, must_win_on, serve)


def _from_build(model: str, do: Do, say: Say, asked_by: str, why: str, must_win_on: str | None, serve: bool) -> Outcome:
    bundle = do("train-compress-evaluate", steps.build, model, say)
    version = do("register", steps.register, model, bundle)
    steps.note_learned(model, version.number)
    granted = do("decide", steps.decide, version, asked_by, why, must_win_on)
    if not granted or not serve:
        return Outcome(version, granted, live=False)
    if not steps.released(version):
        tag = do("package", steps.package, version)
        do("release", steps.release, version, tag)
    return Outcome(version, granted, live=True)


def retrain(
    model: str, verdict: str, *, do: Do = bare, say: Say = silent, asked_by: str, serve: bool = True
) -> Outcome:
    """Labelled predictions become data, the champion is fine-tuned on it, and must win where it drifted.

    Raises:
        Refused: there are no new labels, or no champion to start from.
    """
    from registry import journal

    with journal.step("heal", "Heal by retraining", model, usually_s=110) as running, steps.exclusive(model):
        champion = Versions().find(model, CHAMPION)
        if champion is None:
            raise Refused(f"{model} has no champion to fine-tune", mend=f"`visionloop run {model}` trains one first")
        _, origin = do("labels", steps.take_labels, model, verdict)
        steps.prepare_start(model, champion)
        outcome = _from_build(
            model, do, say, asked_by, f"retraining after drift verdict {verdict}", f"origin={origin}", serve
        )
        word = "promoted" if outcome.granted else "refused by the gate"
        running.note = f"version {outcome.version.number}, fine-tuned from version {champion.number}: {word}"
    return outcome


def monitor(model: str, *, do: Do = bare, last: int | None = None, since: float | None = None) -> Verdict | str:
    """One look at the recent predictions; the verdict says what to do about them.

    Where nothing new came there is none, but what is waited for, in words. Who says what to look at gets a verdict.
    """
    waited_for = "" if last or since else steps.waited_for(model)
    if waited_for:
        return waited_for
    return do("verdict", steps.watch, model, last=last, since=since)
