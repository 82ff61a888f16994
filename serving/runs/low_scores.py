"""Boxes below a detector's own threshold: a page may show them on request, and counts and pictures leave them out.

The router is asked for all boxes from `LEAST` on. Those that the version itself would not name go into `below`.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from registry.boxes.detection import Detections
from registry.contract import catalog
from registry.core.settings import settings
from registry.vision.beginnings import upright_size
from serving.releases import store as releases
from serving.runs import bundles, files
from serving.runs.models import Kind, Run

LEAST = 0.05
BELOW = "below"
MOST_PIXELS = 25_000_000
"""The picture is drawn here, so it must fit into memory several times."""


def wanted(run: Run) -> bool:
    """Whether to ask for boxes below the threshold: of a detector whose threshold is known, and a picture of usual size
    for which nobody chose a score."""
    if run.kind != Kind.PICTURE or catalog.get(run.model).task != "detection" or "score" in run.options:
        return False
    live = releases.live(run.model)
    version = run.wanted or (live.version if live else None)
    with files.reader(run.id, files.INPUT) as file:
        size = upright_size(file.read(0, 1 << 16))
    known = version is not None and threshold(run.model, version) is not None
    return known and size is not None and size[0] * size[1] <= MOST_PIXELS


def threshold(model: str, version: int) -> float | None:
    """The score above which a version counts a box as found; None where nobody knows."""
    bundle = bundles.of_version(model, version)
    found = bundle.manifest.thresholds.get("score") if bundle else None
    return float(found) if isinstance(found, int | float) else None


def settle(run: Run, answer: dict[str, Any]) -> dict[str, Any]:
    """The answer as the version itself would give it, with the boxes below its threshold in `below`. Writes
    `annotated.jpg`."""
    own = threshold(run.model, answer["version"])
    own = LEAST if own is None else own
    above = [one for one in answer["detections"] if one["score"] >= own]
    below = [one for one in answer["detections"] if one["score"] < own]
    counts = dict(Counter(one["class"] for one in above))
    files.write(run.id, files.ANNOTATED, _drawn(run, answer, above))
    settled = {**answer, "detections": above, "counts": counts, BELOW: below}
    settled.pop("parameters", None)
    return settled


def _drawn(run: Run, answer: dict[str, Any], boxes: list[dict[str, Any]]) -> bytes:
    """The picture with boxes, as the service draws it: a JPEG."""
    model = catalog.get(run.model)
    bundle = bundles.of_version(run.model, answer["version"])
    found = Detections(
        np.array([one["box"] for one in boxes], np.float32).reshape(-1, 4),
        np.array([one["score"] for one in boxes], np.float32),
        np.array([one["class_id"] for one in boxes], np.int64),
        bundle.manifest.classes if bundle else model.classes,
        answer["width"],
        answer["height"],
    )
    sample = model.inference.decode(files.read(run.id, files.INPUT), settings().max_voxels)
    return model.render.FORMATS["image/jpeg"](sample, found)
