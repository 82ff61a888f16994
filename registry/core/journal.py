"""The journal: an append-only file that says what the loop does, one JSON object a line.

Stages, flows and services write it. The terminal's progress bar, Prefect's progress artifact and the story page read
it. A line is {"time", "pid", "kind", "run", "step", "model", ...}. By the pid readers notice that a step's process was
killed. The run is the same for everything that one command or flow starts, in any process. Kinds:

    start     a step began            {"title", "usually_s", and what these seconds are in "word": as measured here
              ("usually"), its limit ("at most"), or a guess ("about")}
    progress  how far it is           {"done", "total", "unit", "note"}
    fact      something to report     {"text"} and any JSON-able data under "data"
    finish    a step ended            {"title", "seconds", "outcome": "done" | "skipped" | "failed", "note"} and, when
              one of our errors ended it, "error": its to_json()
"""

from __future__ import annotations

import json
import os
import secrets
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from registry.core.errors import VisionloopError, first_line
from registry.core.settings import settings

RUN = "_VISIONLOOP_RUN"
"""Environment variable that hands a run to a child process."""

SEARCHED, MEASURED = 8_000_000, 5
"""How many bytes at the journal's end are searched for a step's durations, and how many of these count."""

_run: ContextVar[str] = ContextVar("run", default="")


def current() -> str:
    """The run of this thread or process; "" if there is none."""
    return _run.get() or os.environ.get(RUN, "")


def environment() -> dict[str, str]:
    """Environment for a child process that belongs to the current run. Not for one that outlives it."""
    return {RUN: current()}


@contextmanager
def run(identity: str = "") -> Iterator[str]:
    """Lines written inside belong to one run: `identity`, or else the current one, or else a new one."""
    mine = identity or current() or secrets.token_hex(6)
    token = _run.set(mine)
    try:
        yield mine
    finally:
        _run.reset(token)


def path() -> Path:
    return settings().var / "journal.jsonl"


def write(kind: str, step: str, model: str = "", **fields: Any) -> None:
    """Appends one line. O_APPEND keeps lines of concurrent writers whole; a full disk loses the line only."""
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
        return  # the journal must never stop the work


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
def step(
    name: str, title: str, model: str = "", usually_s: float | None = None, limit_s: float | None = None
) -> Iterator[Step]:
    """Writes `start` and `finish` around the block. An exception finishes it as failed and is raised again.

    Args:
        usually_s: how long it takes, until it has been measured here (`measured_s`).
        limit_s: the same, of a step that is stopped after that time.
    """
    measured = measured_s(name, title, model)
    word = "usually" if measured else "at most" if limit_s else "about"
    write("start", name, model, title=title, usually_s=measured or limit_s or usually_s, word=word)
    began, running = time.perf_counter(), Step()
    try:
        yield running
    except BaseException as error:
        running.outcome, running.note = "failed", first_line(error)
        running.error = error.to_json() if isinstance(error, VisionloopError) else None
        raise
    finally:
        seconds = time.perf_counter() - began
        failure = {"error": running.error} if running.error else {}
        done = {"title": title, "seconds": seconds, "outcome": running.outcome, "note": running.note}
        write("finish", name, model, **done, **failure)


def measured_s(step: str, title: str, model: str = "") -> float | None:
    """The median duration in seconds of the last times that this step was done; None if the journal has none of it.

    `title`: it tells an import from the other steps that make data.
    """
    mark, found = b'"kind": "finish"', []
    try:
        with path().open("rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - SEARCHED))
            lines = [line for line in stream.read().splitlines() if mark in line]
    except OSError:
        return None
    for raw in reversed(lines):
        with suppress(json.JSONDecodeError):  # the first line may be a part of one
            line = json.loads(raw)
            if [line.get(key) for key in ("step", "title", "model", "outcome")] == [step, title, model, "done"]:
                found.append(float(line["seconds"]))
        if len(found) == MEASURED:
            break
    return statistics.median(found) if found else None


def end_of_file() -> int:
    """The offset after the last line."""
    try:
        return path().stat().st_size
    except OSError:
        return 0


def read(since: int = 0, file: Path | None = None) -> tuple[list[dict[str, Any]], int]:
    """The lines after byte `since`, and the offset to continue at. A partly written last line is left for later."""
    source = file or path()
    try:
        with source.open("rb") as stream:
            if since > os.fstat(stream.fileno()).st_size:
                since = 0  # a new journal was started
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
