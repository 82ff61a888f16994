"""Explains an answer by an occlusion map, measured on the network that is served.

A window over the picture is blurred and the network runs again. Where its answer weakens, the picture mattered (Zeiler
and Fergus, Visualizing and Understanding Convolutional Networks, 2014, section 4.1). This needs no gradients, so it
works on any exported network and numerics. It always costs `COPIES` + 1 elements through the network.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from registry.core.errors import BadInput
from registry.core.media import ByteArray, Clip, FloatArray, Prediction
from registry.versions.predictor import CHUNK, Predictor
from registry.vision import drawing
from registry.vision.picture import to_jpeg

GRID = 8
COPIES = GRID * GRID
"""Occluded copies of the input: windows on a grid of 8 x 8, each 1.5 grid steps wide and soft to 2.5."""

_FLAT, _SOFT = 0.75, 1.25  # half-widths in grid steps: whole within the first, gone at the second
_DETAIL = 4  # the heat map has a cell for every 4 x 4 pixels of the network's input
_LEAST = 1e-6  # a loss of evidence below this is rounding


@dataclass(frozen=True, eq=False)
class Explanation:
    """What an answer rests on.

    Attributes:
        heat: float32 [h, w] in [0, 1] over the whole picture, or the slice of a volume that `picture` shows. 1 where
            hiding costs most evidence; all 0 if hiding costs none anywhere.
        picture: a JPEG of the heat over the input.
        loss: evidence lost at the hottest window as a fraction of all evidence; above 1 if it turns negative.
        seconds: time taken, without the prediction.
        calls: elements that went through the network.
    """

    heat: FloatArray
    picture: bytes
    loss: float
    seconds: float
    calls: int


def explain(predictor: Predictor, body: bytes, prediction: Prediction | None = None) -> Explanation:
    """The occlusion map of the predictor's answer to `body`.

    Args:
        prediction: that answer, if it was made already.

    Raises:
        BadInput: the input is a video, or there is nothing to explain; and as the predictor.
    """
    prediction = prediction or predictor(body)
    if isinstance(prediction.sample, Clip):
        raise BadInput("the input is a video", expected="a picture", fix="send the frame to explain")
    began = time.perf_counter()
    part = predictor.spec.inference
    prepared = prediction.prepared or predictor.prepare(prediction.sample)
    number, shown, rectangle = part.focus(prediction.sample, prepared, prediction.result)
    element = prepared.batch[number]
    windows = Windows.over(rectangle, element.shape[1:])

    def ask(batch: FloatArray) -> FloatArray:
        found = part.evidence(predictor.run(batch), prepared, prediction.result)
        return np.asarray(found, dtype=np.float32).reshape(len(batch))

    whole = float(ask(element[None])[0])
    left = np.concatenate([ask(batch) for batch in windows.occlude(element)])
    lost = np.asarray(np.clip(whole - left, 0, None), dtype=np.float32).reshape(GRID, GRID)
    heat = windows.spread(lost)
    drawn = drawing.draw_heat(drawing.enlarge(shown)[0], heat)
    return Explanation(
        heat=heat,
        picture=to_jpeg(drawing.add_heat_scale(_upright(predictor, drawn, prediction.sample))),
        loss=float(lost.max()) / max(abs(whole), _LEAST),
        seconds=time.perf_counter() - began,
        calls=COPIES + 1,
    )


def _upright(predictor: Predictor, drawn: ByteArray, sample: Any) -> ByteArray:
    return predictor.spec.render.upright(drawn, sample)


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows on a grid over a rectangle of the network's input; each is a product of a profile down and one across.

    Attributes:
        box: the rectangle (x1, y1, x2, y2), whole pixels.
        down, across: float32 [GRID, rows] and [GRID, columns] of the rectangle, in [0, 1].
    """

    box: tuple[int, int, int, int]
    down: FloatArray
    across: FloatArray

    @classmethod
    def over(cls, rectangle: tuple[float, float, float, float], shape: tuple[int, ...]) -> Windows:
        limits = (shape[1] - 1, shape[0] - 1)
        x1, y1 = (int(np.clip(round(v), 0, limit)) for v, limit in zip(rectangle[:2], limits, strict=True))
        x2, y2 = (int(np.clip(round(v), 1, limit + 1)) for v, limit in zip(rectangle[2:], limits, strict=True))
        x2, y2 = max(x2, x1 + 1), max(y2, y1 + 1)
        return cls((x1, y1, x2, y2), _profiles(y2 - y1), _profiles(x2 - x1))

    def occlude(self, element: FloatArray) -> Iterator[FloatArray]:
        """Copies of `element` [C, H, W] with one window each blurred away, float32 [M, C, H, W] of at most `CHUNK`."""
        x1, y1, x2, y2 = self.box
        inner = element[:, y1:y2, x1:x2]
        # A blur so wide that little but the surroundings' colour is left. A window of one colour, as in the
        # paper, would be a new object in dark or plain pictures.
        sigma = max(self.down.shape[1], self.across.shape[1]) / GRID
        hidden = np.stack([cv2.GaussianBlur(c, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE) for c in inner])
        pairs = [(i, j) for i in range(GRID) for j in range(GRID)]
        for at in range(0, COPIES, CHUNK):
            some = pairs[at : at + CHUNK]
            batch = np.repeat(element[None], len(some), axis=0)
            for copy, (i, j) in zip(batch, some, strict=True):
                rows, columns = np.flatnonzero(self.down[i]), np.flatnonzero(self.across[j])
                a, b, c, d = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
                share = self.down[i, a:b, None] * self.across[j, None, c:d]
                place = copy[:, y1 + a : y1 + b, x1 + c : x1 + d]
                place += share * (hidden[:, a:b, c:d] - place)
            yield batch

    def spread(self, lost: FloatArray) -> FloatArray:
        """Evidence lost by window, [GRID, GRID] -> float32 [h, w] in [0, 1]: each place gets the mean over the windows
        that hide it, the nearer the more."""
        down, across = _near(self.down.shape[1]), _near(self.across.shape[1])
        if float(lost.max()) <= _LEAST:
            return np.zeros((down.shape[1], across.shape[1]), dtype=np.float32)
        heat = (down.T @ lost @ across) / np.outer(down.sum(axis=0), across.sum(axis=0))
        return np.asarray(heat / heat.max(), dtype=np.float32)


def _profiles(length: int) -> FloatArray:
    """float32 [GRID, length]. Every pixel is in at least one profile; every profile hides some pixel wholly."""
    step = length / GRID
    at = np.arange(length) + 0.5
    centres = (np.arange(GRID) + 0.5) * step
    away = np.abs(at[None, :] - centres[:, None]) / step
    profiles = np.clip((_SOFT - away) / (_SOFT - _FLAT), 0, 1)
    profiles[np.arange(GRID), np.clip(centres.astype(int), 0, length - 1)] = 1  # shorter than the grid has steps
    return profiles.astype(np.float32)


def _near(length: int) -> FloatArray:
    """float32 [GRID, cells]: how near each cell of the heat map is to a window's middle; 0 outside the window."""
    cells = max(GRID, -(-length // _DETAIL))
    at = (np.arange(cells) + 0.5) * GRID / cells
    away = np.abs(at[None, :] - (np.arange(GRID) + 0.5)[:, None])
    return np.clip(1 - away / _SOFT, 0, 1).astype(np.float32)
