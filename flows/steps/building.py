"""What training starts from, and the stages from data to bundle."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from flows.steps import dvc_stages
from flows.steps.dvc_stages import Say, Turn
from registry.core.errors import StorageError
from registry.core.settings import settings
from registry.versions.bundle import Bundle, open_bundle
from registry.versions.mlflow_registry import Version, Versions


def prepare_start(model: str, champion: Version | None) -> None:
    """Says what training starts from: the champion's bundle, or weights. Leaves an equal start untouched."""
    from training.workspace import starting_point
    from training.workspace.workspace import open_workspace

    stage = open_workspace(model)
    if champion is None:
        starting_point.start_from_weights(stage)
    else:
        starting_point.start_from_champion(stage, champion, Versions().fetch(champion).path)


def ensure_start(model: str) -> None:
    """What an earlier run chose; else from scratch, or from the weights file that there is now."""
    from training.workspace import starting_point
    from training.workspace.workspace import open_workspace

    starting_point.keep_start(open_workspace(model))


def build(model: str, say: Say, turn: Turn = nullcontext) -> Bundle:
    """validate -> train -> compress -> evaluate, as far as they are stale; `turn` as in `stages.build`. Raises what a
    stage raised."""
    with disk_room(settings().build):
        dvc_stages.build(model, say, turn)
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
            fix="free some space and run the same command again",
        )
    yield
