"""How a run of MLflow is described when it begins."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.workspace.workspace import Workspace


@dataclass(frozen=True)
class RunDescription:
    """Name, data, code, parameters and tags of a run."""

    model: str
    name: str
    data: Path
    data_hash: str
    git_commit: str
    params: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


def run_description(workspace: Workspace) -> RunDescription:
    start = workspace.start
    return RunDescription(
        model=workspace.spec.name,
        name=f"fine-tune version {start.version}" if start else "train from scratch",
        data=workspace.data,
        data_hash=workspace.data_hash,
        git_commit=workspace.git_commit,
        params={
            **{f"train.{k}": v for k, v in workspace.params.items()},
            "start": f"version {start.version}" if start else "scratch",
        },
        tags={"parent": str(start.version)} if start else {},
    )
