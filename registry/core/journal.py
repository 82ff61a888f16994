"""The journal: an append-only file of what the loop is doing, one JSON object a line.

Stages, flows and services write it; the terminal's progress bar, Prefect's progress artifact and the story
page all read the same lines. A line is {"time", "pid", "kind", "run", "step", "model", ...}; the pid tells a step that
still runs from one whose process was killed, the run what belongs together: all that one command, or one flow, set
going, in whichever process. Kinds:

    start     a step began            {"title", "usually_s"}
    progress  how far it is           {"done", "total", "unit", "note"}
    fact      something worth telling {"text"} and any JSON-able data under "data"
    finish    a step ended            {"seconds", "outcome": "done" | "skipped" | "failed", "note"} and, when one of
              our errors ended it, "error": its to_json()
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from registry.core.errors import VisionloopError, first_line
from registry.core.settings import settings

RUN = "_VISIONLOOP_RUN"
"""In the environment of a process that works for a run of another one."""

_run: ContextVar[str] = ContextVar("run", default="")


def current() -> str:
    """The run that this work belongs to; "" when it belongs to none."""
    return _run.get() or os.environ.get(RUN, "")


def environment() -> dict[str, str]:
    """What a process that works for the present run needs in its environment. Not for one that outlives it."""
    return {RUN: current()}


@contextmanager
def run(identity: str = "") -> Iterator[str]:
    """What is journalled inside belongs to one run: `identity`, else the one that is under way, else a new one."""
    mine = identity or current() or secrets.token_hex(6)
    token = _run.set(mine)
    try:
        yield mine
    finally:
        _run.reset(token)


def path() -> Path:
    return settings().var / "journal.jsonl"


def write(kind: str, step: str, model: str = "", **fields: Any) -> None:
    """Appends one line. O_APPEND keeps lines of concurrent writers whole; a full disk only loses the line."""
    who = {"time": time.time(), "pid": os.getpid(), "kind": kind, "run": current(), "step": step, "model": model}
    line = json.dumps({**who, **fields}, default=str)
    try:
        path().parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path(), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line.encode() + b"\n")
        finally:
            os.close(handle)
    except OSError:
        return  # the journal tells of the work; it must never stop it


def progress(step: str, done: float, total: float, unit: str = "", note: str = "", model: str = "") -> None:
    write("progress", step, model, done=done, total=total, unit=unit, note=note)


def fact(step: str, text: str, model: str = "", **data: Any) -> None:
    write("fact", step, model, text=text, data=data)


class Step:
    """A running step; set `outcome` to "skipped" and `note` to say why."""

    outcome = "done"
    note = ""
    error: dict[str, Any] | None = None

    def skip(self, why: str) -> None:
        self.outcome, self.note = "skipped", why


@contextmanager
def step(name: str, title: str, model: str = "", usually_s: float | None = None) -> Iterator[Step]:
    """Writes `start` and `finish` around the block; an exception finishes it as failed and goes on its way."""
    write("start", name, model, title=title, usually_s=usually_s)
    began, running = time.perf_counter(), Step()
    try:
        yield running
    except BaseException as error:
        running.outcome, running.note = "failed", first_line(error)
        running.error = error.to_json() if isinstance(error, VisionloopError) else None
        raise
    finally:
        seconds = time.perf_counter() - began
        said = {"error": running.error} if running.error else {}
        write("finish", name, model, seconds=seconds, outcome=running.outcome, note=running.note, **said)


def end_of_file() -> int:
    """The offset after the last line written so far."""
    try:
        return path().stat().st_size
    except OSError:
        return 0


def read(since: int = 0, file: Path | None = None) -> tuple[list[dict[str, Any]], int]:
    """Lines written after byte `since`, and the offset to ask for next. A half-written last line waits."""
    source = file or path()
    try:
        with source.open("rb") as stream:
            if since > os.fstat(stream.fileno()).st_size:
                since = 0  # a new journal was begun
            stream.seek(since)
            raw = stream.read()
    except OSError:
        return [], since
    whole = raw[: raw.rfind(b"\n") + 1]
    lines = []
    for line in whole.splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return lines, since + len(whole)
