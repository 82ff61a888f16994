"""What the tests of batches do again and again: draw pictures, run, read the tables."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flows.batch.run import Summary
from flows.batch.run import run as run_batch
from registry.versions.bundle import Bundle
from tests.flows.batch.feature_bundle import version_of

MOST_BYTES = 10_000_000


def draw(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.resize(pixels, (64, 48), interpolation=cv2.INTER_NEAREST))


def run(where: object, out: object, bundle: Bundle, number: int = 1, **options: object) -> Summary:
    return run_batch(str(where), str(out), version_of(bundle, number), bundle.path, **options)  # type: ignore[arg-type]


def rows(out: Path, table: str = "rows") -> pa.Table:
    """A table of an output, its parts in order."""
    return pa.concat_tables([pq.read_table(path) for path in parts(out, table)])


def parts(out: Path, table: str = "rows") -> list[Path]:
    return sorted((out / table).glob("*.parquet"))


def rejects(out: Path) -> dict[str, str]:
    """What could not be read -> why."""
    found = rows(out, "rejects").to_pylist() if parts(out, "rejects") else []
    return {row["path"]: row["reason"] for row in found}
