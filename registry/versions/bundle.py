"""The bundle: a packaged model as a folder. Nothing in it is a pickle.

bundle/
  bundle.json          Manifest: what is known about the version
  network.xml/.bin     the exported network that serves (or network.onnx, as `engine` says)
  network.onnx         the same network, for other runtimes
  weights.safetensors  trainable weights, where the next fine-tuning starts
  assets/              other files of preprocessing, e.g. a face detector; most models have none
  reference.parquet    the drift reference: one row per held-out case
  precision_recall.json  at every score, of the test cases; where results are boxes (`registry.contract.curves`)
  learned.parquet      the inputs it learned from (`registry.versions.learned`)
  samples/<id>/        golden samples: `input` as uploaded and `expected.json`; checked at load
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from registry.core.errors import BundleError, first_line
from registry.core.files import digest_file
from registry.core.runtime import Engine, Numerics

MANIFEST = "bundle.json"
REFERENCE = "reference.parquet"
WEIGHTS = "weights.safetensors"
SAMPLES = "samples"
ASSETS = "assets"
RUN_DIGEST = "digest"
"""Tag of an MLflow run: the digest of the bundle it made. A run belongs to one version."""
ORIGIN_SLICE = "origin="
"""The names of slices by origin begin with this."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Score(_Strict):
    """A metric with its 95 % bootstrap interval over cases, or over groups of them (e.g. patients).

    `groups`: how many groups, cases without one counted as one each; 0 where no case has a group.
    """

    value: float
    low: float
    high: float
    cases: int
    groups: int = 0

    @property
    def witnesses(self) -> int:
        """How many independent units it is of: groups where there are some, else cases."""
        return self.groups or self.cases

    def in_words(self, metric: str) -> str:
        """E.g. `Dice 0.9512 (0.9401 to 0.9633), 40 cases in 8 groups`."""
        where = f" in {self.groups} groups" if self.groups else ""
        return f"{metric} {self.value:.4f} ({self.low:.4f} to {self.high:.4f}), {self.cases} cases{where}"


class Variant(_Strict):
    """One row of the compression table. `score` is on the validation cases, which chose among the variants.

    Latencies are of the network alone at batch 1, in milliseconds. Sizes are in MB (10^6 bytes). MACs are of one input.
    """

    name: str
    engine: str
    numerics: str
    score: Score
    p50_ms: float
    p95_ms: float
    size_mb: float
    macs: int
    parameters: int
    chosen: bool = False
    why: str = ""


class Machine(_Strict):
    """Where the latencies were measured."""

    cpu: str
    flags: tuple[str, ...]
    threads: int
    libraries: dict[str, str]


class Parent(_Strict):
    version: int
    digest: str


class Manifest(_Strict):
    """`bundle.json`."""

    schema_version: int = 1
    model: str
    task: str
    created: str = Field(description="UTC, ISO 8601")
    classes: tuple[str, ...]
    engine: Engine
    numerics: Numerics
    network: str = Field(description="file that `engine` opens")
    input_shape: tuple[int, ...] = Field(description="of one batch element: [C, H, W]")
    preprocessing: dict[str, Any]
    thresholds: dict[str, Any]
    metric: str
    score: Score
    slices: dict[str, Score] = Field(description="the metric per slice, e.g. `origin=starter`, `dimensions=2-D`")
    variants: tuple[Variant, ...]
    machine: Machine
    data_hash: str = Field(description="DVC's md5 of the data set's folder")
    git_commit: str
    parent: Parent | None = None
    pretrained: str = Field(description="where the weights started from, in words")
    compression: tuple[dict[str, Any], ...] = ()
    training: dict[str, Any] = Field(default_factory=dict, description="parameters and what came of them")
    files: dict[str, str] = Field(default_factory=dict, description="sha256 of every other file")

    @property
    def chosen(self) -> Variant:
        return next(variant for variant in self.variants if variant.chosen)

    @property
    def network_digest(self) -> str:
        """Identifies what computes: sha256 over the network's files, the engine and the numerics."""
        files = sorted((name, digest) for name, digest in self.files.items() if name.startswith("network."))
        return hashlib.sha256(json.dumps([files, self.engine, self.numerics]).encode()).hexdigest()


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk, with its checked manifest."""

    path: Path
    manifest: Manifest

    @property
    def digest(self) -> str:
        """Identifies the content: sha256 over the manifest's bytes, which hold every file's sha256."""
        return hashlib.sha256((self.path / MANIFEST).read_bytes()).hexdigest()

    @property
    def samples(self) -> list[Path]:
        """Folders of the golden samples."""
        folder = self.path / SAMPLES
        return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def seal(folder: Path, manifest: Manifest) -> Manifest:
    """Writes `bundle.json` into a folder that holds all other files, with the sha256 of each."""
    files = {
        str(path.relative_to(folder)): digest_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    sealed = manifest.model_copy(update={"files": files})
    (folder / MANIFEST).write_text(sealed.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return sealed


def open_bundle(path: Path, *, verify: bool = True) -> Bundle:
    """Reads a bundle.

    Raises:
        BundleError: the manifest is missing or malformed, or (with `verify`) a file is missing or not the one
            that was sealed.
    """
    fix = "fetch the version again from the registry, or train it anew"
    try:
        manifest = Manifest.model_validate_json((path / MANIFEST).read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(f"{path} holds no readable {MANIFEST}", expected="a bundle folder", fix=fix) from error
    except (ValidationError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BundleError(
            f"{path / MANIFEST} is malformed: {first_line(error)}", expected="schema version 1", fix=fix
        ) from error
    if verify:
        for name, digest in manifest.files.items():
            file = path / name
            if not file.is_file():
                raise BundleError(f"{file} is missing", expected=f"the {len(manifest.files)} sealed files", fix=fix)
            if digest_file(file) != digest:
                raise BundleError(f"{file} is not what was sealed", expected=f"sha256 {digest[:12]}...", fix=fix)
    return Bundle(path, manifest)
