"""Pictures for MLflow and the story page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from registry.contract.spec import Metric
from registry.core.media import ByteArray
from registry.versions.bundle import Variant

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from training.workspace.checkpoint import History

COLOURS = {"torch": "#8c8c8c", "keras": "#8c8c8c", "onnxruntime": "#d2691e", "openvino": "#1f5fa8"}
MARKERS = {"f32": "o", "bf16": "s", "int8": "D"}


def curves(history: History, metric: Metric) -> Figure:
    """Loss and validation metric by epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    left.plot(epochs, [row["loss"] for row in history], color="#8c8c8c")
    left.set(xlabel="epoch", ylabel="training loss")
    values = [row[f"val_{metric.name}"] for row in history]
    right.plot(epochs, values, color="#1f5fa8")
    if values:
        best = max(values, key=lambda value: metric.better_by(value, 0.0))
        right.set_title(f"best {best:.4f}", fontsize=10, loc="right")
    right.set(xlabel="epoch", ylabel=f"validation {metric.title}")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    return figure


def variants(rows: Sequence[Variant], title: str) -> Figure:
    """Metric, with its interval, against latency; the chosen variant is ringed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    for row in rows:
        score = row.score
        axes.errorbar(
            row.p50_ms,
            score.value,
            yerr=[[max(0.0, score.value - score.low)], [max(0.0, score.high - score.value)]],
            fmt=MARKERS.get(row.numerics, "o"),
            color=COLOURS.get(row.engine, "#444444"),
            alpha=0.9,
            markersize=4 + min(8.0, row.size_mb / 3),
        )
        axes.annotate(row.name, (row.p50_ms, score.value), xytext=(6, 5), textcoords="offset points", fontsize=7)
        if row.chosen:
            axes.scatter([row.p50_ms], [score.value], s=320, facecolors="none", edgecolors="#b00020", linewidths=1.5)
    axes.set(xlabel="latency, p50, ms (batch 1)", ylabel=f"validation {title}", xscale="log")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, which="both")
    return figure


def pixels(jpeg: bytes) -> ByteArray:
    """A JPEG -> uint8 [H, W, 3], RGB."""
    import cv2

    decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None, "render.picture must give a JPEG"
    return np.ascontiguousarray(decoded[:, :, ::-1]).astype(np.uint8)
