"""The picture beside its most probable classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from registry.core.media import Picture
from registry.vision import drawing
from registry.vision.picture import to_jpeg
from registry.vision_tasks.classification import Ranking

TOP = 5


def picture(sample: Picture, result: Ranking | None = None, truth: str | None = None) -> bytes:
    """A JPEG: the picture with a bar for each of the top classes; the true one is marked."""
    if result is None:
        return to_jpeg(sample.pixels)
    top = result.top(TOP)
    names = [name.replace("_", " ") for name, _ in top]
    shares, numbers = [share for _, share in top], [result.classes.index(name) for name, _ in top]
    return to_jpeg(drawing.draw_bars(sample.pixels, names, shares, numbers, (truth or "").replace("_", " ")))


FORMATS: Mapping[str, Callable[[Picture, Ranking], bytes]] = {"image/jpeg": picture}
