"""What training starts from, and the stages from data to bundle."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows import versioning
from flows.versioning import Say
from registry import journal
from registry.bundle import Bundle, open_bundle
from registry.errors import StorageError
from registry.files import new_folder, write_file
from registry.settings import settings
from registry.versions import Version, Versions


@contextmanager
def exclusive(model: str) -> Iterator[None]:
    """One run of a model's loop at a time on this machine; the second one waits, and says so."""
    path = settings().var / "run" / f"loop-{model}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            journal.fact("data", f"another run of {model} is under way; this one waits for it", model)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def prepare_start(model: str, champion: Version | None) -> None:
    """Says what training starts from: the champion's bundle, or nothing. Leaves an equal start untouched."""
    target = settings().build / model / "start"
    wanted = {"version": champion.number, "digest": champion.digest} if champion else {}
    with_file = target / "start.json"
    if with_file.is_file() and json.loads(with_file.read_text() or "{}") == wanted:
        return
    with new_folder(target) as draft:
        if champion is not None:
            shutil.copytree(Versions().fetch(champion).path, draft / "bundle")
        write_file(draft / "start.json", json.dumps(wanted) + "\n")


def ensure_start(model: str) -> None:
    """From scratch, unless an earlier run chose a start."""
    if not (settings().build / model / "start" / "start.json").is_file():
        prepare_start(model, None)


def build(model: str, say: Say) -> Bundle:
    """validate -> train -> compress -> evaluate, as far as they are stale. Raises what a stage raised."""
    with disk_room(settings().build):
        versioning.build(model, say)
    return open_bundle(settings().build / model / "bundle")


@contextmanager
def disk_room(path: Path, least_mb: int = 300) -> Iterator[None]:
    """Refuses to begin on a disk that is as good as full: better now than after the training."""
    path.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path).free / 1e6
    if free < least_mb:
        raise StorageError(
            f"{free:.0f} MB are free under {path}",
            expected=f"at least {least_mb} MB",
            mend="free some space and run the same command again",
        )
    yield
