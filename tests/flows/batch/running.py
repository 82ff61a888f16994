"""What the tests of `visionloop featurize` do again and again: draw pictures, run, read the rows."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flows.batch.featurize import Summary, featurize
from registry.versions.bundle import Bundle
from tests.flows.batch.feature_bundle import version_of

MOST_BYTES = 10_000_000


def draw(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.resize(pixels, (64, 48), interpolation=cv2.INTER_NEAREST))


def run(where: object, out: Path, bundle: Bundle, number: int = 1, **options: object) -> Summary:
    return featurize(str(where), out, version_of(bundle, number), bundle.path, **options)  # type: ignore[arg-type]


def rows(out: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in sorted(out.glob("*.parquet"))])
