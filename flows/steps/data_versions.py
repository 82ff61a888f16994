"""Data versions in DVC. data.dvc has one entry per model, so that each is versioned, pushed and locked by itself."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.buckets import encryption, regions
from registry.buckets.client import is_bucket
from registry.buckets.errors import explained, explanation
from registry.core import journal
from registry.core.errors import DataError, first_line
from registry.core.files import disk_errors, write_file
from registry.core.settings import settings

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo
    from dvc.stage import Stage

FILE = "data.dvc"
LOCK_TIMEOUT_S = 600.0
"""How long to wait for a folder that another DVC command is working on."""


@dataclass(frozen=True)
class DataVersion:
    """One model's entry in data.dvc. `size`: bytes. `changed`: whether this call changed the entry."""

    md5: str
    files: int
    size: int
    changed: bool

    def __str__(self) -> str:
        return f"{self.files} files, {self.size / 1e6:.1f} MB, md5 {self.md5.removesuffix('.dir')[:10]}"


@contextmanager
def repository() -> Iterator[Repo]:
    """The project's DVC repository. Its log is silent, and its errors become ours.

    Raises:
        DataError: DVC refuses.
        Refused: the remote is a bucket outside of `s3_regions`.
        MissingService: that bucket does not answer, or its credentials are wrong.
    """
    import logging

    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    from training.workspace.parameters import write_models

    logging.getLogger("dvc").setLevel(logging.ERROR)
    if (settings().root / "params.yaml").is_file():
        write_models(settings().root)  # dvc.yaml reads it
    # The remote is a setting of ours, so that moving to S3 edits no file. It is given here because DVC reads its
    # configuration again with each lock.
    remote = settings().remote
    options = encryption.dvc_options() if is_bucket(remote) else {}
    config = {"remote": {"local": {"url": remote, **options}}}
    regions.check(remote)
    try:
        with (
            disk_errors(settings().data),
            explained(remote) if is_bucket(remote) else nullcontext(),
            _first_logged() as logged,
            # As `dvc --wait-for-lock`: another command holds the lock while it hashes its files.
            Repo(str(settings().root), config=config, _wait_for_lock=True) as repo,
        ):
            yield repo
    except DvcException as error:
        # "2 files failed to upload" has no cause; DVC has logged it.
        ours = explanation(logged[0], remote) if is_bucket(remote) and logged else None
        if ours is not None:
            raise ours from error
        raise DataError(
            f"DVC says: {first_line(error)}",
            expected="a project folder with .dvc, dvc.yaml and data/",
            fix="run `dvc status` in the project folder to see more",
        ) from error


@contextmanager
def _first_logged() -> Iterator[list[BaseException]]:
    """Yields a list that gets the errors that DVC logs, and does not raise, as they come."""
    import logging

    found: list[BaseException] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.exc_info[1]:
                found.append(record.exc_info[1])

    handler, logger = Handler(logging.ERROR), logging.getLogger("dvc_data")
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)


def recorded(model: str) -> str | None:
    """The md5 of a model's data in data.dvc. None if it has no entry."""
    import yaml

    try:
        outs = yaml.safe_load((settings().root / FILE).read_text(encoding="utf-8"))["outs"]
        return next((str(out["md5"]) for out in outs if out["path"] == f"data/{model}"), None)
    except (OSError, KeyError, TypeError, yaml.YAMLError):
        return None


def add(model: str) -> DataVersion:
    """Versions data/<model> as it is now, and pushes it to the remote if it is not there yet.

    It replaces `dvc add`, which would lock the data of all models: while one trains, no other could be versioned.
    """
    before = recorded(model)
    with repository() as repo:
        out = _add(repo, model)
        md5 = str(out.hash_info.value)
        found = DataVersion(md5, int(out.meta.nfiles or 0), int(out.meta.size or 0), md5 != before)
        pushed = _stamp(model)
        where = {"md5": md5, "remote": settings().remote}
        if not pushed.is_file() or json.loads(pushed.read_text() or "{}") != where:
            repo.push(str(settings().data / model))
            write_file(pushed, json.dumps(where))
    return found


def _stamp(model: str) -> Path:
    return settings().build / model / "pushed.json"


def was_pushed(model: str) -> bool:
    """Whether this project folder has pushed the model's data before."""
    return _stamp(model).is_file()


def to_commit(model: str) -> list[str]:
    """What made the model's figures and git has not committed yet: data.dvc, dvc.lock, params.yaml and the model's
    folder, as `models new` writes it. Empty outside git."""
    names = [FILE, "dvc.lock", "params.yaml", f"registry/models/{model}"]
    command = ["git", "-C", str(settings().root), "status", "--porcelain", "--untracked-files=normal", "--", *names]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return []
    changed = [line[3:].strip('"') for line in done.stdout.splitlines()]
    return [name for name in names if any(one == name or one.startswith(f"{name}/") for one in changed)]


def _add(repo: Repo, model: str) -> Output:
    from dvc.lock import LockError

    limit, reported = time.monotonic() + LOCK_TIMEOUT_S, False
    while True:
        try:
            return _add_now(repo, model)
        except LockError as error:
            if time.monotonic() > limit:
                raise
            if not reported:
                journal.fact("data", f"DVC is busy with data/{model}; waiting: {first_line(error)}", model)
            reported = True
            time.sleep(0.5)


def _add_now(repo: Repo, model: str) -> Output:
    """Raises LockError while another DVC command reads or writes the model's data."""
    from dvc.repo import lock_repo
    from dvc.rwlock import rwlock

    folder = settings().data / model
    with (
        lock_repo(repo),
        repo.scm_context(autostage=False),
        rwlock(repo.tmp_dir, repo.fs, f"visionloop: data/{model}", [], [str(folder)], False),
    ):
        stage = _stage(repo, model)
        out: Output = next(one for one in stage.outs if Path(one.fs_path) == folder)
        out.add()
        stage.dump()
    return out


def _stage(repo: Repo, model: str) -> Stage:
    """data.dvc with an entry for the model. Removes the entry for all of data/ that earlier versions had."""
    from dvc.output import loads_from

    path, name = settings().root / FILE, f"data/{model}"
    if not path.is_file():
        wdir = str(settings().root)
        created: Any = repo.stage.create(single_stage=True, validate=False, fname=str(path), wdir=wdir, outs=[name])
        return created
    stage = repo.stage.load_one(str(path))
    folders = {settings().data, settings().data / model}
    stage.outs = [one for one in stage.outs if Path(one.fs_path) != settings().data]
    if not any(Path(one.fs_path) in folders for one in stage.outs):
        stage.outs += loads_from(stage, [name])
    stage.outs.sort(key=lambda one: str(one.def_path))
    return stage
