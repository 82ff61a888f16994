"""What the stage `compress` leaves in build/<model>/compress, for the stages after it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.versions.bundle import Machine, Variant

REPORT = "variants.json"
HISTORY = "finetune.csv"
CONSTANTS = "constants.json"  # what serving must know of the network; the stages after this one need no torch


@dataclass
class Report:
    """build/<model>/compress/variants.json."""

    variants: tuple[Variant, ...]
    machine: Machine
    network: str
    onnx: str
    weights: str
    compression: list[dict[str, Any]] = field(default_factory=list)
    git_commit: str = ""

    def write(self, path: Path) -> None:
        content = vars(self) | {
            "variants": [variant.model_dump() for variant in self.variants],
            "machine": self.machine.model_dump(),
        }
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Report:
        raw = json.loads(path.read_text(encoding="utf-8"))
        raw["variants"] = tuple(Variant(**variant) for variant in raw["variants"])
        raw["machine"] = Machine(**raw["machine"])
        return cls(**raw)
