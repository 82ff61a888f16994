"""What an interrupted training goes on from. Written in one step after each epoch: a kill -9 loses one at most.

build/<model>/train/
  checkpoint.pt         only while training: network, optimizer, best weights, random state, history
  weights.safetensors   the best epoch's weights, once training is finished
  metrics.csv           one row an epoch: the copy that does not need MLflow
  summary.json          written last: what came of it; its being there means that training is finished
  run.json              the MLflow run
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.files import write_file

if TYPE_CHECKING:
    from torch import Tensor

CHECKPOINT, WEIGHTS, METRICS, SUMMARY = "checkpoint.pt", "weights.safetensors", "metrics.csv", "summary.json"

History = list[dict[str, float]]
"""One dict an epoch: epoch, step, loss, val_loss, val_<metric>, learning_rate, epoch_seconds."""


@dataclass
class Progress:
    """How far a training is; everything but the tensors."""

    fingerprint: str
    epoch: int = 0
    step: int = 0
    elapsed: float = 0.0
    planned_epochs: int = 0
    best_epoch: int = 0
    best_metric: float | None = None
    stopped: str = ""
    history: History = field(default_factory=list)


class Checkpoints:
    """The checkpoint of one training in one folder. `folder` None: nothing is kept."""

    def __init__(self, folder: Path | None, fingerprint: str) -> None:
        self.folder, self.fingerprint = folder, fingerprint

    def save(self, progress: Progress, state: Mapping[str, Any]) -> None:
        """Writes progress, network, optimizer and random state. Raises StorageError."""
        if self.folder is None:
            return
        import torch

        buffer = io.BytesIO()
        torch.save({"progress": vars(progress), **state}, buffer)
        write_file(self.folder / CHECKPOINT, buffer.getvalue())
        write_metrics(self.folder / METRICS, progress.history)

    def load(self) -> tuple[Progress, dict[str, Any]] | None:
        """The last checkpoint, if it is of this very training (same data, parameters, code and start)."""
        if self.folder is None or not (self.folder / CHECKPOINT).is_file():
            return None
        import torch

        try:
            state = torch.load(self.folder / CHECKPOINT, weights_only=True, map_location="cpu")
            progress = Progress(**state.pop("progress"))
        except Exception:  # torch raises half a dozen kinds for a file that is not a checkpoint
            return None
        return (progress, state) if progress.fingerprint == self.fingerprint else None

    def finish(self, weights: Mapping[str, Tensor], history: History, summary: Mapping[str, Any]) -> None:
        """Writes weights, metrics, then the summary; only then the checkpoint, of no more use, goes."""
        assert self.folder is not None
        save_weights(self.folder / WEIGHTS, weights)
        write_metrics(self.folder / METRICS, history)
        write_file(self.folder / SUMMARY, json.dumps({**summary, "fingerprint": self.fingerprint}, indent=2) + "\n")
        (self.folder / CHECKPOINT).unlink(missing_ok=True)

    def finished(self) -> dict[str, Any] | None:
        """The summary, if this very training is finished and its weights are there."""
        if self.folder is None or not (self.folder / WEIGHTS).is_file():
            return None
        try:
            summary = json.loads((self.folder / SUMMARY).read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError):
            return None
        return summary if summary.get("fingerprint") == self.fingerprint else None

    def clear(self) -> None:
        """Removes what another training left here."""
        if self.folder is not None:
            for file in self.folder.iterdir() if self.folder.is_dir() else ():
                file.unlink()


def save_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """safetensors, on the CPU, in plain memory order."""
    from safetensors.torch import save

    write_file(path, save({name: value.detach().cpu().contiguous() for name, value in weights.items()}))


def load_weights(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(str(path))


def write_metrics(path: Path, history: History) -> None:
    out = io.StringIO()
    names = list(dict.fromkeys(name for row in history for name in row))
    writer = csv.DictWriter(out, names)
    writer.writeheader()
    writer.writerows(history)
    write_file(path, out.getvalue())


def read_metrics(path: Path) -> History:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(stream)]
