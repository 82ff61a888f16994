"""Standardised principal components of a run's own features: how they are fitted here, kept, drawn and applied.

The column `pca` of the features is another space: that of the version's training pictures.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flows.batch.output import PCA, Output, parquet
from flows.batch.work import vectors
from registry.core.errors import BadInput
from registry.core.media import FloatArray

if TYPE_CHECKING:
    import pyarrow as pa

COMPONENTS = "components"
"""The table's folder, and its column."""
MODEL, PLOT, ABOUT = f"{PCA}/model.safetensors", f"{PCA}/explained_variance.png", f"{PCA}/about.json"
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Space:
    """mean, scale: float64 [D], of the features; scale is the sample's standard deviation, 1 where it is 0.
    components: float64 [K, D], orthonormal rows, the largest entry of each positive.
    explained: float64 [K], each component's share of the variance of the standardised features."""

    mean: Matrix
    scale: Matrix
    components: Matrix
    explained: Matrix

    @classmethod
    def of(cls, mean: Matrix, scale: Matrix, components: Matrix, explained: Matrix) -> Space:
        """Turns each component so that its largest entry is positive: its sign is arbitrary."""
        largest = components[np.arange(len(components)), np.abs(components).argmax(axis=1)]
        signs = np.where(largest < 0, -1.0, 1.0)
        return cls(mean, np.where(scale > 0, scale, 1.0), components * signs[:, None], explained)

    def apply(self, features: FloatArray) -> FloatArray:
        """float32 [N, D] -> float32 [N, K]."""
        return (((features - self.mean) / self.scale) @ self.components.T).astype(np.float32)

    def to_bytes(self) -> bytes:
        """A safetensors file."""
        from safetensors.numpy import save

        return save({name: np.ascontiguousarray(value) for name, value in self.__dict__.items()})

    @classmethod
    def from_bytes(cls, content: bytes) -> Space:
        from safetensors.numpy import load

        return cls(**load(content))


def fit(batches: Callable[[], Iterator[FloatArray]], count: int) -> Space:
    """Exact, from the correlation matrix; two passes of float64.

    Args:
        batches: gives all features, float32 [n, D] each, as often as it is called.
        count: K.

    Raises:
        BadInput: there are not more rows than components, or not as many features.
    """
    rows, total = 0, np.zeros(0)
    for batch in batches():
        rows, total = rows + len(batch), batch.sum(axis=0, dtype=np.float64) + (total if rows else 0)
    check(rows, len(total), count)
    mean: Matrix = total / rows
    scatter = np.zeros((len(mean), len(mean)))
    for batch in batches():
        off = batch - mean
        scatter += off.T @ off
    deviation = np.sqrt(np.diag(scatter) / (rows - 1))
    scale = np.where(deviation > 0, deviation, 1.0)
    values, columns = np.linalg.eigh(scatter / (rows - 1) / np.outer(scale, scale))
    order = np.argsort(values)[::-1][:count]
    return Space.of(mean, scale, columns[:, order].T, values[order] / values.sum())


def check(rows: int, features: int, count: int) -> None:
    """Raises BadInput if so many components cannot be fitted."""
    if rows <= count or features < count:
        raise BadInput(
            f"{count} components of {features} features from {rows} pictures",
            expected="fewer components than pictures, and at most one for each feature",
            fix="take a smaller --pca, or more pictures",
        )


def features_of(output: Output, number: int) -> tuple[pa.Table, FloatArray]:
    """The rows of a part, and their features as float32 [n, D]."""
    table = output.rows(number, ["path", "label", "features", "version"])
    flat = table["features"].combine_chunks().flatten().to_numpy()
    return table, flat.reshape(table.num_rows, -1) if table.num_rows else np.zeros((0, 0), np.float32)


def write_components(output: Output, number: int, table: pa.Table, found: FloatArray) -> None:
    """One part of the table of components. `table` has path, label and version, and perhaps more."""
    rows = table.select(["path", "label", "version"]).add_column(2, COMPONENTS, vectors(list(found)))
    output.store.write(f"{COMPONENTS}/{output.plan.name(number)}", parquet(rows))


def kept(output: Output, count: int) -> Space | None:
    """The space that an earlier run fitted to these rows and applied to all of them; None without one."""
    about, model = output.store.read(ABOUT), output.store.read(MODEL)
    if about is None or model is None or json.loads(about) != _about(output, count):
        return None
    return Space.from_bytes(model)


def forget(output: Output) -> None:
    """Removes the components of an earlier run, which may have been killed on the way."""
    output.store.delete([ABOUT, *output.store.names(COMPONENTS)])


def keep(output: Output, space: Space) -> None:
    """Writes it beside the tables. `kept` finds it from the last line on."""
    count = len(space.components)
    output.store.write(MODEL, space.to_bytes())
    output.store.write(PLOT, draw(space))
    output.store.write(ABOUT, json.dumps(_about(output, count)).encode())


def _about(output: Output, count: int) -> dict[str, object]:
    return {"plan": output.plan.id, "components": count}


def draw(space: Space) -> bytes:
    """A PNG: the share of the variance that each component explains, and the sum."""
    import io

    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    numbers = np.arange(1, len(space.explained) + 1)
    axes.bar(numbers, 100 * space.explained, color="#9db4c0", label="each")
    axes.plot(numbers, 100 * np.cumsum(space.explained), color="#253237", label="sum")
    axes.set(xlabel="component", ylabel="explained variance, %", ylim=(0, 100))
    axes.legend(frameon=False)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110)
    return out.getvalue()
