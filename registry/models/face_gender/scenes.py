"""Starter data: drawn people before drawn backdrops, from nobody to nine of them; each face is a true box.

A box lies as the detector's do: from the hairline to the chin, from cheek to cheek.
"""

from __future__ import annotations

import cv2
import numpy as np

from registry.cases.yolo_labels import LabelBox
from registry.core.media import ByteArray
from registry.datasets.picture_set import Example
from registry.models.face_gender import heads, portraits
from registry.scenes.backdrop import backdrop
from registry.scenes.camera import photograph
from registry.vision.picture import to_jpeg

QUALITY = 90
COUNTS = ((0, 1), (1, 2), (2, 4), (5, 8))
"""Faces in a picture, from and to before; of ten, one has none, three have one, four some, two many."""

_TURNS = (1, 2, 2, 1, 0, 3, 2, 3, 1, 2)  # of COUNTS, by the running number
_TOP, _BOTTOM, _HALF = -0.62, 1.0, 0.735  # of a face in its head's frame
_HEIGHTS = ((0.3, 0.3), (0.26, 0.46), (0.2, 0.32), (0.15, 0.2))  # of a face, in heights of the picture, by COUNTS


def make(rng: np.random.Generator, n: int) -> Example:
    """A picture of drawn people, `n` being its number: labels and skin tones take turns.

    Attributes: `skin_tone` (`light`, `medium`, `dark`: one for everybody in the picture) and `light` (`front`, `side`,
    `dim`); none where there is nobody.
    """
    width, height = int(rng.integers(340, 481)), int(rng.integers(280, 361))
    canvas = backdrop(rng, width, height)
    kind = _TURNS[n % len(_TURNS)]
    tone = heads.SKIN_TONES[n // len(_TURNS) % 3]
    light = heads.LIGHTS[n // (3 * len(_TURNS)) % 3] if n % 2 else str(rng.choice(heads.LIGHTS))
    count = int(rng.integers(*COUNTS[kind]))
    boxes = []
    for at, tall in _places(rng, width, height, count, _HEIGHTS[kind]):
        label = heads.LABELS[int(rng.integers(2))]
        head = heads.draw(rng, label, tone, light)
        corners = _put(canvas, head, at, tall)
        boxes.append(LabelBox(label, corners))
    if light == "dim":
        canvas = cv2.convertScaleAbs(canvas, alpha=float(rng.uniform(0.38, 0.6))).astype(np.uint8, copy=False)
    picture = to_jpeg(photograph(rng, canvas), QUALITY)
    return Example(picture, boxes, {"skin_tone": tone, "light": light} if boxes else {})


def _places(
    rng: np.random.Generator, width: int, height: int, count: int, share: tuple[float, float]
) -> list[tuple[tuple[float, float], float]]:
    """Centres of heads and heights of their faces in pixels: apart from each other, nearer (larger) ones last."""
    found: list[tuple[tuple[float, float], float]] = []
    for _ in range(60 * count):
        if len(found) == count:
            break
        tall = rng.uniform(*share) * height
        room = 0.72 * tall
        x, y = rng.uniform(room, width - room), rng.uniform(room, height - 0.75 * tall)
        # 1.25 faces apart to the side, so that long hair does not cover a neighbour.
        if all(abs(x - cx) > 0.58 * (tall + other) or abs(y - cy) > 0.8 * (tall + other) for (cx, cy), other in found):
            found.append(((x, y), tall))
    return sorted(found, key=lambda one: one[1])


def _put(
    canvas: ByteArray, head: heads.Head, at: tuple[float, float], tall: float
) -> tuple[float, float, float, float]:
    """Draws a head into the canvas, its frame's origin at `at`; the face's box in pixels, within the canvas."""
    height, width = canvas.shape[:2]
    unit = tall / (_BOTTOM - _TOP)  # pixels per unit of the head's frame
    size = round(2 * portraits.REACH * unit)
    colour, cover = portraits.render(head, size)
    matrix = cv2.getRotationMatrix2D((size / 2, size / 2), head.roll, 1.0)
    matrix[:, 2] += np.array(at) - size / 2
    reach = round(0.5 * size * (abs(np.cos(np.deg2rad(head.roll))) + abs(np.sin(np.deg2rad(head.roll))))) + 2
    x1, y1 = max(0, round(at[0]) - reach), max(0, round(at[1]) - reach)
    place = canvas[y1 : min(height, round(at[1]) + reach), x1 : min(width, round(at[0]) + reach)]
    matrix[:, 2] -= (x1, y1)
    turned = (place.shape[1], place.shape[0])
    drawn = cv2.warpAffine(colour, matrix, turned, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    share = cv2.warpAffine(cover, matrix, turned, flags=cv2.INTER_LINEAR)[:, :, None].astype(np.uint16)
    place[:] = (drawn * share + place * (255 - share) + 127) // 255
    angle = np.deg2rad(head.roll)
    cos, sin = np.cos(angle), np.sin(angle)
    middle, a, b = (_TOP + _BOTTOM) / 2 * unit, _HALF * head.width * unit, (_BOTTOM - _TOP) / 2 * unit
    cx, cy = at[0] + middle * sin, at[1] + middle * cos
    half_x, half_y = np.hypot(a * cos, b * sin), np.hypot(a * sin, b * cos)
    box = (cx - half_x, cy - half_y, cx + half_x, cy + half_y)
    left, top, right, bottom = (
        float(np.clip(edge, 0, limit)) for edge, limit in zip(box, (width, height) * 2, strict=True)
    )
    return left, top, right, bottom
