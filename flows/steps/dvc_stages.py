"""The stages of dvc.yaml: finds those that are stale, and runs them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

from flows.steps.data_versions import repository
from flows.steps.locks import inherited
from registry.core import journal
from registry.core.errors import DataError, StorageError, VisionloopError, error_from_json
from registry.core.settings import settings

STAGES = ("validate", "train", "compress", "evaluate")
ENDS_WITHIN_S = 10.0
"""How long a stage that was told to end may take to write its last checkpoint."""

# What a script starts with `&` ignores SIGINT, and so do its children. DVC and a training end in order by it only.
_DVC = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("dvc", run_name="__main__", alter_sys=True)
"""

OnLine = Callable[[str], None]
Slot = Callable[[], AbstractContextManager[Any]]

_SKIPPED = re.compile(r"Stage '(\w+)@\w+' (is cached|didn't change)")
_WHY_SKIPPED = {
    "is cached": "DVC's cache has the result of exactly these inputs",
    "didn't change": "what it depends on came out the same",
}


def stale(model: str) -> list[str]:
    """The stages that `build` would run, in order. Empty if everything is up to date."""
    with repository() as repo:
        names = [f"{stage}@{model}" for stage in STAGES]
        if not set(names) <= {stage.addressing.rpartition(":")[2] for stage in repo.index.stages}:
            raise DataError(
                f"dvc.yaml has no stages for {model}",
                expected=f"a section for {model} in params.yaml, or no list `models` there that leaves it out",
                fix="correct params.yaml (docs/add-a-model.md)",
            )
        # DVC reads targets relative to the working folder, which is not always the project's.
        status: dict[str, Any] = repo.status([f"{settings().root / 'dvc.yaml'}:{name}" for name in names])
    changed = [name for name in names if any(str(key).endswith(name) for key in status)]
    # DVC names what changed now; whatever comes after it will run too.
    return [name.partition("@")[0] for name in names[names.index(changed[0]) :]] if changed else []


def build(model: str, on_line: OnLine = lambda _: None, slot: Slot = nullcontext) -> list[str]:
    """Runs the stages that are stale (`dvc repro`) and returns their names.

    An error, Ctrl-C, SIGTERM or a cancelled flow ends the running stage with all its processes. The stage keeps its
    checkpoint and continues from it next time.

    Args:
        on_line: gets each line of DVC's output. What matters of it is in the journal.
        slot: entered only if there is something to run, e.g. to wait for the training of another model.

    Raises:
        VisionloopError: what the failing stage raised, as it raised it.
    """
    todo = stale(model)
    for stage in STAGES:
        if stage not in todo:
            _skip(stage, model, "nothing it depends on has changed")
    if not todo:
        return []
    with slot():
        _run(model, todo, on_line)
    return todo


def _run(model: str, todo: list[str], on_line: OnLine) -> None:
    since = journal.end_of_file()
    # One by one: `dvc repro evaluate@<model>` would first check data.dvc, and lock the data of all models for it.
    argv = [
        sys.executable,
        "-c",
        _DVC,
        "--wait-for-lock",
        "repro",
        "--single-item",
        *(f"{stage}@{model}" for stage in todo),
    ]
    lines: list[str] = []
    with (
        _terminable(),
        subprocess.Popen(
            argv,
            cwd=settings().root,
            env={
                **settings().child_environment(),
                **journal.environment(),
                "COLUMNS": os.environ.get("COLUMNS", "140"),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # a group of its own, so that DVC's child ends with it
            pass_fds=inherited(model),
        ) as child,
    ):
        try:
            for line in child.stdout or ():
                lines.append(line.rstrip())
                on_line(lines[-1])
                skipped = _SKIPPED.match(lines[-1])
                if skipped:
                    _skip(skipped[1], model, _WHY_SKIPPED[skipped[2]])
        except BaseException:
            end_group(child)
            raise
    if child.returncode:
        raise _why(model, since, lines)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM raises SystemExit, so that what this process started ends with it. Prefect's runs have a handler."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def end(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _skip(stage: str, model: str, why: str) -> None:
    with journal.step(stage, stage.capitalize(), model) as running:
        running.skip(why)


def end_group(child: subprocess.Popen[str]) -> None:
    """Ends a process and its whole group: SIGINT, as from the keyboard, then SIGKILL."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGINT)  # DVC itself ends in order by this one only
    limit = time.monotonic() + ENDS_WITHIN_S
    while time.monotonic() < limit and _group_lives(child):
        time.sleep(0.05)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def _group_lives(child: subprocess.Popen[str]) -> bool:
    child.poll()  # reaps it, so that a dead leader does not count
    try:
        os.killpg(child.pid, 0)
    except ProcessLookupError:
        return False
    return True


def _why(model: str, since: int, lines: list[str]) -> VisionloopError:
    """The error that ended the stage, from the journal, or else the last lines of its output."""
    for line in reversed(journal.read(since)[0]):
        mine = line.get("model") == model and line.get("run", "") == journal.current()
        failure = line.get("error")
        if mine and line.get("kind") == "finish" and line.get("outcome") == "failed" and failure:
            return error_from_json(failure)
    text = "\n".join(line for line in lines[-12:] if line)
    if "No space left on device" in text:
        return StorageError("the disk is full", expected="room", fix="free some space and run the same command again")
    return VisionloopError(
        f"a stage of {model} ended early:\n{text}",
        expected="validate, train, compress and evaluate to finish",
        fix=f"run it by hand to see more: dvc repro --allow-missing evaluate@{model}",
    )
