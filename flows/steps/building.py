"""What training starts from, and the stages from data to bundle."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows import versioning
from flows.versioning import Say
from registry import journal
from registry.bundle import Bundle, open_bundle
from registry.errors import StorageError
from registry.settings import settings
from registry.versions import Version, Versions


def _lock(model: str) -> Path:
    return settings().var / "run" / f"loop-{model}.lock"


def is_busy(model: str) -> bool:
    """Whether a run of a model's loop is under way on this machine."""
    try:
        with _lock(model).open("r") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


@contextmanager
def exclusive(model: str) -> Iterator[None]:
    """One run of a model's loop at a time on this machine; the second one waits, and says so."""
    path = _lock(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            journal.fact("data", f"another run of {model} is under way; this one waits for it", model)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def prepare_start(model: str, champion: Version | None) -> None:
    """Says what training starts from: the champion's bundle, or weights. Leaves an equal start untouched."""
    from training import starting_point
    from training.stage import open_stage

    stage = open_stage(model)
    if champion is None:
        starting_point.start_from_weights(stage)
    else:
        starting_point.start_from_champion(stage, champion, Versions().fetch(champion).path)


def ensure_start(model: str) -> None:
    """What an earlier run chose; else from scratch, or from the weights file that there is now."""
    from training import starting_point
    from training.stage import open_stage

    starting_point.keep_start(open_stage(model))


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
