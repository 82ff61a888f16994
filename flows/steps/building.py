"""Building a bundle: what training starts from, then the stages of dvc.yaml."""

from __future__ import annotations

from contextlib import nullcontext

from flows.steps import dvc_stages
from flows.steps.dvc_stages import OnLine, Slot
from registry.core.files import require_free_space
from registry.core.settings import settings
from registry.versions.bundle import Bundle, open_bundle
from registry.versions.mlflow_registry import Version, Versions


def prepare_start(model: str, champion: Version | None) -> None:
    """Prepares what training starts from: the champion's bundle, or weights. An equal start stays untouched."""
    from training.workspace import starting_point
    from training.workspace.workspace import open_workspace

    workspace = open_workspace(model)
    if champion is None:
        starting_point.start_from_weights(workspace)
    else:
        starting_point.start_from_champion(workspace, champion, Versions().fetch(champion).path)


def ensure_start(model: str) -> None:
    """Keeps the start of an earlier run. The first time: the weights file if there is one, else from scratch."""
    from training.workspace import starting_point
    from training.workspace.workspace import open_workspace

    starting_point.keep_start(open_workspace(model))


def build(model: str, on_line: OnLine = lambda _: None, slot: Slot = nullcontext) -> Bundle:
    """Runs the stages from validate to evaluate, where they are stale, and opens the bundle.

    Args:
        on_line, slot: as of `dvc_stages.build`.

    Raises:
        StorageError: the disk is nearly full.
        VisionloopError: as a stage raised it.
    """
    for folder in (settings().build, settings().var):  # they may be on two disks
        require_free_space(folder, 300)
    dvc_stages.build(model, on_line, slot)
    return open_bundle(settings().build / model / "bundle")
