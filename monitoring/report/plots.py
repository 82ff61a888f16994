"""Two pictures of a comparison: the statistics that moved most, and the embeddings. PNG bytes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from monitoring.drift.findings import Finding, Table
from monitoring.drift.statistics import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REFERENCE, WINDOW, PAPER, INK = "#7d8a99", "#e07b1f", "#ffffff", "#1d2733"
COLUMNS, ROWS = 3, 2


def distributions(reference: Table, window: Table, finding: Finding) -> bytes:
    """Histograms of reference and window, one panel for each of the columns that moved farthest."""
    panels = [(test, column) for test in finding.tests for column in test.columns]
    panels.sort(key=lambda p: (not p[1].drifted, -p[1].shift if p[1].drifted else -p[1].distance))
    figure, axes = _figure(COLUMNS * 3.6, ROWS * 2.5, ROWS, COLUMNS)
    for axis, (test, column) in zip(axes, panels, strict=False):
        a, b = reference.columns[column.name], window.columns[column.name]
        edges = _edges(a, b)
        for values, colour, name in ((a, REFERENCE, "reference"), (b, WINDOW, "now")):
            axis.hist(values, edges, weights=np.full(len(values), 1 / len(values)), color=colour, alpha=0.6, label=name)
        kind, name = column.name.split(".", 1)
        mark = "moved" if column.drifted else "as before"
        axis.set_title(f"{name.replace('_', ' ')} ({'input' if kind == 'image' else 'answer'}): {mark}", loc="left")
        axis.set_xlabel(f"distance {column.distance:.2f}, alarm above {test.threshold:.2f}")
        axis.set_yticks([])
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    if panels:
        axes[0].legend(frameon=False, fontsize=9)
    return _png(figure)


def embeddings(reference: Table, window: Table) -> bytes | None:
    """Both embeddings on their first two common principal components; None if there are no embeddings."""
    if min(reference.embedding.shape[1], window.embedding.shape[1]) < 2:
        return None
    pooled = np.concatenate([reference.embedding, window.embedding]).astype(np.float64)
    pooled -= pooled.mean(axis=0)
    _, _, directions = np.linalg.svd(pooled, full_matrices=False)
    points = pooled @ directions[:2].T
    figure, (axis,) = _figure(4.8, 4.2, 1, 1)
    count = len(reference)
    axis.scatter(*points[:count].T, s=18, color=REFERENCE, alpha=0.7, label="reference")
    axis.scatter(*points[count:].T, s=26, color=WINDOW, alpha=0.8, marker="^", label="now")
    axis.set_title("What the network sees (embedding, PCA)", loc="left")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.legend(frameon=False, fontsize=9)
    return _png(figure)


def _figure(width: float, height: float, rows: int, columns: int) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure  # no pyplot: it keeps figures and is not safe in threads

    figure = Figure(figsize=(width, height), facecolor=PAPER, layout="constrained")
    axes = list(np.atleast_1d(figure.subplots(rows, columns)).ravel())
    for axis in axes:
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.tick_params(labelsize=9, colors=INK)
        axis.title.set(fontsize=10, color=INK)
        axis.xaxis.label.set(fontsize=9, color=INK)
    return figure, axes


def _edges(a: Array, b: Array) -> Array:
    low, high = np.quantile(np.concatenate([a, b]), (0.005, 0.995))
    return np.linspace(low, high if high > low else low + 1e-6, 25)


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110)
    return out.getvalue()
