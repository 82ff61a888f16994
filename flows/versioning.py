"""Data and stages under DVC: what changed, what has to run again, and running it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from registry import errors, journal
from registry.errors import DataError, StorageError, VisionloopError
from registry.files import disk_errors, write_file
from registry.settings import settings

if TYPE_CHECKING:
    from dvc.repo import Repo

STAGES = ("validate", "train", "compress", "evaluate")
JOURNALLED = {"validate": "checks"}
"""DVC's stage -> the journal's step, where they differ."""

Say = Callable[[str], None]

_CACHED = re.compile(r"Stage '(\w+)@\w+' is cached")


@dataclass(frozen=True)
class DataVersion:
    """What data.dvc says: md5 of the whole folder, files and bytes in it; `changed` by this call."""

    md5: str
    files: int
    size: int
    changed: bool

    def __str__(self) -> str:
        return f"{self.files} files, {self.size / 1e6:.1f} MB, md5 {self.md5.removesuffix('.dir')[:10]}"


@contextmanager
def _repo() -> Iterator[Repo]:
    """The DVC repository of the project; its chatter goes nowhere, its errors become ours."""
    import logging

    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.ERROR)
    try:
        with (
            disk_errors(settings().data),
            Repo(str(settings().root)) as repo,
        ):
            # The remote is a setting of ours, so that moving to S3 edits no file.
            if settings().dvc_remote or settings().var != settings().root / "var":
                repo.config["remote"]["local"] = {"url": settings().remote}
            yield repo
    except DvcException as error:
        raise DataError(
            f"DVC says: {str(error).strip().splitlines()[0]}",
            expected="a project folder with .dvc, dvc.yaml and data/",
            mend="run `dvc status` in the project folder to see more",
        ) from error


def recorded() -> str | None:
    """The md5 in data.dvc; None when there is no data.dvc yet."""
    import yaml

    try:
        return str(yaml.safe_load((settings().root / "data.dvc").read_text(encoding="utf-8"))["outs"][0]["md5"])
    except (OSError, KeyError, TypeError, IndexError, yaml.YAMLError):
        return None


def add() -> DataVersion:
    """Versions data/ as it is now (`dvc add`) and sends it to the remote (`dvc push`) if it was not there."""
    before = recorded()
    with _repo() as repo:
        out = repo.add(str(settings().data))[0].outs[0]
        md5 = str(out.hash_info.value)
        found = DataVersion(md5, int(out.meta.nfiles or 0), int(out.meta.size or 0), md5 != before)
        pushed = settings().var / "run" / "pushed.json"
        where = {"md5": md5, "remote": settings().remote}
        if not pushed.is_file() or json.loads(pushed.read_text() or "{}") != where:
            repo.push(str(settings().root / "data.dvc"))
            write_file(pushed, json.dumps(where))
    return found


def stale(model: str) -> list[str]:
    """The stages that `build` would run, in order; [] when everything is up to date."""
    with _repo() as repo:
        known = _stages(repo)
        names = [f"{stage}@{model}" for stage in STAGES]
        if not set(names) <= known:
            raise DataError(
                f"dvc.yaml has no stages for {model}",
                expected=f"{model} under `models` in params.yaml",
                mend="add it there (docs/add-a-model.md)",
            )
        # DVC reads targets relative to the working folder, which is not always the project's.
        status: dict[str, Any] = repo.status([f"{settings().root / 'dvc.yaml'}:{names[-1]}"], with_deps=True)
    changed = [name for name in names if any(str(key).endswith(name) for key in status)]
    # DVC names what changed now; whatever comes after it will run too.
    return [name.partition("@")[0] for name in names[names.index(changed[0]) :]] if changed else []


def _stages(repo: Repo) -> set[str]:
    return {stage.addressing.rpartition(":")[2] for stage in repo.index.stages}


@lru_cache(maxsize=1)
def _command() -> list[str]:
    return [sys.executable, "-m", "dvc"]


def build(model: str, say: Say) -> list[str]:
    """Runs the stages that are stale (`dvc repro`), line by line to `say`; returns their names.

    Raises:
        VisionloopError: what the failing stage raised, as it raised it.
    """
    todo = stale(model)
    for stage in STAGES:
        if stage not in todo:
            with journal.step(JOURNALLED.get(stage, stage), stage.capitalize(), model) as running:
                running.skip("nothing it depends on has changed")
    if not todo:
        return []
    since = journal.end_of_file()
    argv = [*_command(), "repro", f"{STAGES[-1]}@{model}"]
    lines: list[str] = []
    with subprocess.Popen(
        argv,
        cwd=settings().root,
        env={**settings().child_environment(), "COLUMNS": os.environ.get("COLUMNS", "140")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as child:
        try:
            for line in child.stdout or ():
                lines.append(line.rstrip())
                say(lines[-1])
                cached = _CACHED.match(lines[-1])
                if cached:
                    stage = cached[1]
                    with journal.step(JOURNALLED.get(stage, stage), stage.capitalize(), model) as running:
                        running.skip("DVC's cache has the result of exactly these inputs")
        except BaseException:
            child.terminate()  # the stage keeps its checkpoint and goes on from there next time
            raise
    if child.returncode:
        raise _why(model, since, lines)
    return todo


def _why(model: str, since: int, lines: list[str]) -> VisionloopError:
    """The error that ended the stage: the journal has it whole; else the last words of its output."""
    for line in reversed(journal.read(since)[0]):
        said = line.get("error")
        if line.get("kind") == "finish" and line.get("outcome") == "failed" and said:
            kind = getattr(errors, str(said.get("error")), VisionloopError)
            return kind(said["found"], expected=said.get("expected", ""), mend=said.get("mend", ""))
    text = "\n".join(line for line in lines[-12:] if line)
    if "No space left on device" in text:
        return StorageError("the disk is full", expected="room", mend="free some space and run the same command again")
    return VisionloopError(
        f"a stage of {model} ended early:\n{text}",
        expected="validate, train, compress and evaluate to finish",
        mend=f"run it by hand to see more: dvc repro evaluate@{model}",
    )
