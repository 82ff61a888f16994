"""Describes one slice of a listing: pictures in, one table out. All engines use it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from flows.batch.sources import Item, Source
from registry.core.errors import VisionloopError
from registry.core.media import FloatArray, Prepared
from registry.versions.predictor import EMBEDDING, Predictor
from registry.vision_tasks.classification import Ranking

if TYPE_CHECKING:
    import pyarrow as pa

PCA = "pca"
BATCH = 32


class Ready(NamedTuple):
    """A decoded and prepared picture. `row`: its number in the slice."""

    row: int
    prepared: Prepared


def schema() -> pa.Schema:
    """The columns of a part. `features`, `pca`, `class` and `probability` are null where there is an `error`.

    All vectors of a model have one length, but the type is a plain list: Parquet has no other, and Arrow cannot read a
    null among lists of fixed size.
    """
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("path", pa.string(), nullable=False),
            pa.field("label", pa.string()),
            pa.field("features", pa.list_(pa.float32())),
            pa.field("pca", pa.list_(pa.float32())),
            pa.field("class", pa.string()),
            pa.field("probability", pa.float32()),
            pa.field("version", pa.string(), nullable=False),
            pa.field("error", pa.string()),
        ]
    )


def featurize_slice(
    predictor: Predictor,
    source: Source,
    items: Sequence[Item],
    version: str,
    batch: int = BATCH,
    limit: int = 64_000_000,
) -> pa.Table:
    """Reads, decodes and describes `items`. One row each, in their order.

    A picture that cannot be read or decoded, or has more than `limit` pixels, becomes a row with an `error`. The next
    batch is read while one is worked on, so two batches of files and one of prepared pictures are in memory at most.
    """
    rows = _Rows(items)
    answer, thresholds = predictor.spec.inference.postprocess, predictor.bundle.manifest.thresholds
    for ready in _prepared(predictor, source, items, batch, limit, rows):
        stacked = np.concatenate([one.prepared.batch for one in ready])
        outputs = predictor.run(stacked)
        for n, one in enumerate(ready):
            mine = {name: values[n : n + 1] for name, values in outputs.items()}
            result = answer(mine, one.prepared, thresholds)
            assert isinstance(result, Ranking), "a model of the task `features` ranks classes"
            rows.take(one.row, mine, result)
    return rows.table(version)


def _prepared(
    predictor: Predictor, source: Source, items: Sequence[Item], batch: int, limit: int, rows: _Rows
) -> Iterator[list[Ready]]:
    """Batches of prepared pictures. Errors go to `rows`."""
    starts, decode = range(0, len(items), batch), predictor.spec.inference.decode
    with ThreadPoolExecutor(1, "reader") as reader:
        coming = reader.submit(source.read, items[:batch])
        for start in starts:
            bodies = coming.result()
            if start + batch < len(items):
                coming = reader.submit(source.read, items[start + batch : start + 2 * batch])
            ready = []
            for row, body in enumerate(bodies, start):
                try:
                    if isinstance(body, str):
                        rows.errors[row] = body
                    else:
                        ready.append(Ready(row, predictor.prepare(decode(body, limit))))
                except VisionloopError as error:
                    rows.errors[row] = error.found
                except Exception as error:  # one odd file among a million must not stop the others
                    rows.errors[row] = f"{type(error).__name__}: {error}"
            if ready:
                yield ready


class _Rows:
    """Collects the columns of a slice."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items, count = items, len(items)
        self.features: list[FloatArray] = []  # of the rows that could be read, in their order
        self.pca: list[FloatArray] = []
        self.names: list[str | None] = [None] * count
        self.shares: list[float | None] = [None] * count
        self.errors: list[str | None] = [None] * count

    def take(self, row: int, outputs: dict[str, FloatArray], result: Ranking) -> None:
        self.features.append(outputs[EMBEDDING][0])
        self.pca.append(outputs[PCA][0])
        self.names[row], self.shares[row] = result.name, result.probability

    def table(self, version: str) -> pa.Table:
        import pyarrow as pa

        read = np.array([error is None for error in self.errors], dtype=bool)

        def vectors(values: list[FloatArray]) -> pa.Array:
            flat = np.concatenate(values) if values else np.zeros(0, dtype=np.float32)
            ends = np.concatenate([[0], np.cumsum(read * (len(values[0]) if values else 0))]).astype(np.int32)
            return pa.ListArray.from_arrays(pa.array(ends), pa.array(flat), mask=pa.array(~read))

        values = [
            pa.array([_text(item.path) for item in self.items], pa.string()),
            pa.array([_text(item.label) if item.label else None for item in self.items], pa.string()),
            vectors(self.features),
            vectors(self.pca),
            pa.array(self.names, pa.string()),
            pa.array(self.shares, pa.float32()),
            pa.array([version] * len(self.items), pa.string()),
            pa.array([None if error is None else _text(error) for error in self.errors], pa.string()),
        ]
        return pa.Table.from_arrays(values, schema=schema())


def _text(name: str) -> str:
    """Writes bytes that are not UTF-8, which file names may have, as \\xNN: Arrow's strings must be UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
