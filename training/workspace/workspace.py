"""One model's folders and parameters, shared by all its stages, and what identifies their inputs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from registry.contract import catalog
from registry.contract.spec import ModelSpec
from registry.core.errors import NotFound
from registry.core.media import Case
from registry.core.settings import Settings, settings
from registry.datasets.hashing import dvc_hash
from registry.versions.bundle import Bundle, open_bundle
from registry.versions.predictor import Predictor
from training.workspace.parameters import Compression, Evaluating, Recipe, parse, read_params

CODE = ("--", ".", ":!dvc.lock", ":!*.dvc")  # what the loop itself writes does not make the code another
START, START_FILE, START_BUNDLE = "start", "start.json", "bundle"
"""The folder that the stage `start` makes, and what is in it: see `training.workspace.starting_point`."""


@dataclass(frozen=True)
class StartingPoint:
    """The champion that training starts from."""

    version: int
    bundle: Bundle

    @property
    def classes(self) -> tuple[str, ...]:
        return self.bundle.manifest.classes


@dataclass(frozen=True)
class Workspace:
    """Where one model's stages read and write. Make it with `open_workspace`."""

    spec: ModelSpec
    settings: Settings
    sections: Mapping[str, Mapping[str, Any]]

    @property
    def data(self) -> Path:
        return self.settings.data / self.spec.name

    def folder(self, stage: str) -> Path:
        """`train`, `compress`, `bundle`, ...: what that stage makes."""
        return self.settings.build / self.spec.name / stage

    @cached_property
    def start(self) -> StartingPoint | None:
        """The champion in build/<model>/start; None: from scratch. Raises BundleError if it is damaged."""
        start = read_start(self.folder(START))
        if "version" not in start:
            return None
        return StartingPoint(int(start["version"]), open_bundle(self.folder(START) / START_BUNDLE))

    @cached_property
    def params(self) -> dict[str, Any]:
        """What the network is built and trained with: `train`, with `retrain` over it when there is a champion, and
        `seed` and `classes`."""
        mine = {**self.sections["train"], **(self.sections["retrain"] if self.start else {})}
        return {"seed": Recipe.model_fields["seed"].default, **mine, "classes": list(self.classes)}

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """As `ModelSpec.classes_of`."""
        return self.spec.classes_of(self.data)

    @cached_property
    def cases(self) -> list[Case]:
        """All cases. Raises NotFound or DataError."""
        if not self.data.is_dir():
            raise NotFound(
                f"there is no data set at {self.data}",
                expected="a data set",
                fix=f"`visionloop data synth {self.spec.name}` makes some, `visionloop data import` takes yours",
            )
        return self.spec.data.cases(self.data)

    @property
    def teaching(self) -> list[Case]:
        """What training and compression may read: all but `test`."""
        return [case for case in self.cases if case.split != "test"]

    def split(self, name: str) -> list[Case]:
        """The cases of `train`, `val` or `test`. Raises NotFound when there is none."""
        found = [case for case in self.cases if case.split == name]
        if not found:
            raise NotFound(
                f"{self.data} has no {name!r} cases",
                expected="at least one case each in train, val and test",
                fix=f"`visionloop data check {self.spec.name}` says how to get them",
            )
        return found

    @cached_property
    def data_hash(self) -> str:
        """DVC's md5 of the data set's folder, as in dvc.lock."""
        return dvc_hash(self.data)

    @cached_property
    def git_commit(self) -> str:
        """The commit of the code, `-dirty` after it when tracked files differ from it; `unknown` outside git."""

        def git(*arguments: str) -> str:
            command = ["git", "-C", str(self.settings.root), *arguments]
            return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

        try:
            changed = git("status", "--porcelain", "--untracked-files=no", *CODE)
            return git("rev-parse", "HEAD") + ("-dirty" if changed else "")
        except (OSError, subprocess.SubprocessError):
            return "unknown"

    @cached_property
    def compression(self) -> Compression:
        return parse(Compression, self.spec.name, "compress", self.sections["compress"])

    @cached_property
    def evaluating(self) -> Evaluating:
        return parse(Evaluating, self.spec.name, "evaluate", self.sections["evaluate"])

    def predictor(self, bundle: Bundle) -> Predictor:
        """Raises BundleError: its network cannot be loaded."""
        return Predictor(bundle, self.settings.threads, self.settings.max_voxels)

    def recipe(self, section: str = "") -> Recipe:
        """The recipe of this training, or of `compress`."""
        values = self.params_with(section)
        return parse(Recipe, self.spec.name, section or ("retrain" if self.start else "train"), values)

    def params_with(self, section: str = "") -> dict[str, Any]:
        """`params`, with the values of another section in place of its own."""
        return {**self.params, **(self.sections[section] if section else {})}


def read_start(folder: Path) -> dict[str, Any]:
    """The content of start.json; {} without one, or for a damaged one."""
    try:
        found = json.loads((folder / START_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def open_workspace(model: str) -> Workspace:
    """Finds the model and reads params.yaml.

    Raises:
        NotFound: no such model.
        SettingsError: params.yaml is missing, or has no section for it, or a value is of the wrong kind.
    """
    spec, where = catalog.get(model), settings()
    sections = read_params(where.root / "params.yaml", model)
    workspace = Workspace(spec, where, sections)
    parse(Recipe, model, "train", sections["train"])
    parse(Compression, model, "compress", sections["compress"])
    parse(Evaluating, model, "evaluate", sections["evaluate"])
    return workspace
