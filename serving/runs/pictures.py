"""Small pictures of a run, for lists and cards."""

from __future__ import annotations

from contextlib import suppress

import cv2
import numpy as np

from registry.contract import catalog
from registry.core.media import ByteArray
from registry.core.settings import settings
from registry.vision.beginnings import upright_size
from serving.runs import files
from serving.runs.models import Kind, Run

THUMBNAIL, CARD = 320, 480
"""Longer sides, pixels."""
MOST_BYTES = 64 << 20
"""An input larger than that gets no small picture of its own."""
_REDUCED = ((8, cv2.IMREAD_REDUCED_COLOR_8), (4, cv2.IMREAD_REDUCED_COLOR_4), (2, cv2.IMREAD_REDUCED_COLOR_2))


def write_thumbnails(run: Run) -> None:
    """Writes `thumbnail.jpg`, from the annotated picture; of an example also `before.jpg`, for its card.

    A run without one is not a failure: nothing is raised for a picture that cannot be read.
    """
    side = CARD if run.owner_id is None else THUMBNAIL
    with suppress(FileNotFoundError, cv2.error):
        _shrink(run.id, files.ANNOTATED, files.THUMBNAIL, side)
    if run.owner_id is None:
        write_before(run)


def write_before(run: Run) -> None:
    """Writes `before.jpg`: the input as a person sees it. Videos have none."""
    if run.kind == Kind.VIDEO or run.size > MOST_BYTES:
        return
    model = catalog.get(run.model)
    sample = model.inference.decode(files.read(run.id, files.INPUT), settings().max_voxels)
    shown = _decoded(model.render.picture(sample), CARD)
    if shown is not None:
        files.write(run.id, files.BEFORE, _small(shown, CARD))


def _shrink(run_id: str, source: str, target: str, side: int) -> None:
    shown = _decoded(files.read(run_id, source), side)
    if shown is not None:
        files.write(run_id, target, _small(shown, side))


def _decoded(content: bytes, side: int) -> ByteArray | None:
    """uint8 [H, W, 3] BGR, at least `side` long where the picture is. A JPEG is decoded at an eighth, a quarter or half
    of its size where that is enough: of a photo that takes half of the time."""
    size = upright_size(content)
    longer = max(size) if size else 0
    flag = next((flag for share, flag in _REDUCED if longer >= share * side), cv2.IMREAD_COLOR)
    return cv2.imdecode(np.frombuffer(content, np.uint8), flag)  # type: ignore[return-value]


def _small(pixels: ByteArray, side: int) -> bytes:
    """A JPEG whose longer side is at most `side`."""
    height, width = pixels.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if scale < 1 else pixels
    return bytes(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 78])[1])
