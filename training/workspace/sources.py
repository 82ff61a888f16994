"""Which source files a stage depends on: one list, in dvc.yaml.

DVC re-runs a stage when a file of its list has changed; `train` takes an earlier training for finished only when the
same files are unchanged (`source_hash`); and a test holds the list to what the stage really imports (`imported`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from registry.core import closure

STAGES = {
    "validate": ("monitoring.checks.validate",),
    "train": (
        "training.stages.train",
        "training.engines.select",
    ),
    "compress": (
        "training.stages.compress",
        "training.engines.select",
    ),
    "evaluate": ("training.stages.evaluate",),
}
"""Stage -> where following imports begins; engines and a model's parts are imported by name, so they are named here."""

PARTS = ("model", "network", "data", "scenes")
"""Modules of a model's folder that are loaded by name, as far as it has them."""

BY_NAME = (
    "registry.datasets.layouts",
    "registry.vision_tasks.keras_classifier",
    "registry.vision_tasks.smp_segmenter",
    "registry.vision_tasks.timm_classifier",
    "registry.vision_tasks.ultralytics_network",
)
"""What `registry.vision_tasks` loads by name for ordinary models."""

NO_RESULT = frozenset(
    f"{name}.py"
    for name in (
        "registry/buckets/client",
        "registry/buckets/errors",
        "registry/buckets/regions",
        "registry/core/archives",
        "registry/contract/catalog",
        "registry/core/child_environment",
        "registry/core/closure",
        "registry/core/errors",
        "registry/core/files",
        "registry/core/journal",
        "registry/core/progress_bar",
        "registry/core/settings",
        "registry/core/settings_texts",
        "registry/core/settings_values",
        "training/stages/figures",
        "training/workspace/sources",
        "training/workspace/progress",
        "training/stages/runs",
        "training/stages/tracking",
        "training/__main__",
        "monitoring/checks/data_docs",
    )
)
"""Files that only find, fetch, tell, write, draw or unpack: they cannot change what a stage makes; no list has any."""


def declared(stage: str, model: str, project: Path) -> list[str]:
    """The files and folders of source that dvc.yaml lists for a stage, e.g. `registry/vision`."""
    content: dict[str, Any] = yaml.safe_load((project / "dvc.yaml").read_text(encoding="utf-8"))
    found = (content.get("stages") or {}).get(stage) or {}
    listed = found.get("do", found).get("deps") or []
    paths = [str(entry).replace("${key}", model) for entry in listed]
    return [path for path in paths if path.partition("/")[0] in closure.PACKAGES]


def source_files(stage: str, model: str, project: Path) -> Iterator[Path]:
    """The files of `declared`, folders opened, sorted."""
    for name in sorted(declared(stage, model, project)):
        path = project / name
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def source_hash(stage: str, model: str, project: Path | None = None) -> str:
    """sha256 over names and content of a stage's source files."""
    folder = project or closure.project_folder()
    digest = hashlib.sha256()
    for file in source_files(stage, model, folder):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(folder).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def imported(stage: str, model: str, project: Path) -> list[str]:
    """The files that a stage of a model imports and that can change its result, relative to the project."""
    parts = tuple(f"registry.models.{model}.{part}" for part in PARTS)
    files = closure.closure_of((*STAGES[stage], *BY_NAME, *parts), project, within=closure.PACKAGES).files
    return [
        name
        for name in (path.as_posix() for path in files)
        if name not in NO_RESULT and (not name.endswith("/__init__.py") or name.startswith(f"registry/models/{model}/"))
    ]
