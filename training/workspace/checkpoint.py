"""The files of a training. The checkpoint is written atomically after each epoch, so a kill -9 loses one at most.

build/<model>/train/
  checkpoint            only while training: network, optimizer, best weights, random state, history
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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.core.errors import BundleError
from registry.core.files import write_file
from registry.versions.bundle import WEIGHTS

CHECKPOINT, METRICS, SUMMARY = "checkpoint", "metrics.csv", "summary.json"

Arrays = dict[str, NDArray[Any]]
"""Arrays by name."""

History = list[dict[str, float]]
"""One dict an epoch: epoch, step, loss, val_<metric>, learning_rate, epoch_seconds."""


@dataclass
class Progress:
    """The state of a training without its tensors."""

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
    """The checkpoint of one training in one folder."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder, self.fingerprint = folder, fingerprint

    def save(self, progress: Progress, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Writes progress and arrays (network, optimizer, random state). Raises StorageError."""
        head = json.dumps(vars(progress)).encode()
        write_file(self.folder / CHECKPOINT, b"%d\n%b%b" % (len(head), head, _packed(arrays)))
        write_metrics(self.folder / METRICS, progress.history)

    def is_ours(self) -> bool:
        """Whether there is a checkpoint of this very training; its arrays are not looked at."""
        return self._read() is not None

    def load(self) -> tuple[Progress, Arrays] | None:
        """The last checkpoint, if it is whole and of this very training (same data, parameters, code and start)."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        found = self._read()
        try:
            return (found[0], dict(load(found[1]))) if found else None
        except SafetensorError:  # damaged
            return None

    def _read(self) -> tuple[Progress, bytes] | None:
        try:
            length, rest = (self.folder / CHECKPOINT).read_bytes().split(b"\n", 1)
            progress = Progress(**json.loads(rest[: int(length)]))
        except (FileNotFoundError, ValueError, TypeError):  # none, damaged, or not a checkpoint
            return None
        return (progress, rest[int(length) :]) if progress.fingerprint == self.fingerprint else None

    def finish(self, weights: Mapping[str, NDArray[Any]], history: History, summary: Mapping[str, Any]) -> None:
        """Writes weights, metrics, then the summary, and removes the checkpoint."""
        save_weights(self.folder / WEIGHTS, weights)
        write_metrics(self.folder / METRICS, history)
        write_file(self.folder / SUMMARY, json.dumps({**summary, "fingerprint": self.fingerprint}, indent=2) + "\n")
        (self.folder / CHECKPOINT).unlink(missing_ok=True)

    def finished(self) -> dict[str, Any] | None:
        """The summary, if this very training is finished and its weights are there."""
        if not (self.folder / WEIGHTS).is_file():
            return None
        try:
            summary = json.loads((self.folder / SUMMARY).read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError):
            return None
        return summary if summary.get("fingerprint") == self.fingerprint else None

    def clear(self) -> None:
        """Removes the files of another training."""
        for file in self.folder.iterdir() if self.folder.is_dir() else ():
            file.unlink()


def save_weights(path: Path, weights: Mapping[str, NDArray[Any]]) -> None:
    """safetensors: names and numbers, no code."""
    write_file(path, _packed(weights))


def _packed(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    from safetensors.numpy import save

    return save({name: np.asarray(value, order="C") for name, value in arrays.items()})


def load_weights(path: Path) -> dict[str, NDArray[Any]]:
    """Raises BundleError when the file is not whole."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise BundleError(
            f"{path.name} cannot be read: {error}",
            expected="weights in safetensors",
            fix="train again: empty the folder it lies in",
        ) from error


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
