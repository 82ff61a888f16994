"""The picture beside its most probable classes, and the features as an array."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np

from registry.core.media import Picture
from registry.models.fruit_features.inference import FruitResult
from registry.vision import drawing
from registry.vision.picture import to_jpeg

TOP = 5


def picture(sample: Picture, result: FruitResult | None = None, truth: str | None = None) -> bytes:
    """A JPEG: the picture with a bar for each of the top classes; the true one is marked."""
    if result is None:
        return to_jpeg(sample.pixels)
    top = result.top(TOP)
    numbers = [result.classes.index(name) for name, _ in top]
    names, shares = [name for name, _ in top], [share for _, share in top]
    return to_jpeg(drawing.draw_bars(sample.pixels, names, shares, numbers, truth or ""))


def _features(sample: Picture, result: FruitResult) -> bytes:
    """The 1280 features, float32, in NumPy's own file format (NEP 1)."""
    out = io.BytesIO()
    np.save(out, np.asarray(result.features, dtype=np.float32), allow_pickle=False)
    return out.getvalue()


FORMATS: Mapping[str, Callable[[Picture, FruitResult], bytes]] = {
    "image/jpeg": picture,
    "application/x-npy": _features,
}
