"""What the stage `compress` leaves in build/<model>/compress, for the stages after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from registry.versions.bundle import Machine, Variant

REPORT = "variants.json"
HISTORY = "finetune.csv"


class Report(BaseModel):
    """build/<model>/compress/variants.json. With what serving must know of the network: the stages after this one need
    no framework."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    variants: tuple[Variant, ...]
    machine: Machine
    network: str
    onnx: str
    weights: str
    compression: tuple[dict[str, Any], ...]
    git_commit: str
    input_shape: tuple[int, ...]
    preprocessing: dict[str, Any]
    thresholds: dict[str, Any]

    @property
    def chosen(self) -> Variant:
        return next(variant for variant in self.variants if variant.chosen)

    def write(self, path: Path) -> None:
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Report:
        return cls.model_validate_json(path.read_bytes())
