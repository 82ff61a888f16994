"""Draws heads: shaded, with features placed on a sphere so that they turn with it.

A head lives in its own frame: u to its left as seen (x), v down (y), the skull's top at v = -1 and the chin at v = 1;
the face is about 1.44 wide. Colours are BGR in [0, 1].
"""

from __future__ import annotations

from copy import copy

import cv2
import numpy as np

from registry.core.media import ByteArray
from registry.models.face_gender.heads import Head, Plane

REACH = 1.75
"""The drawn patch spans [-REACH, REACH] in u and v: hair, neck and shoulders fit in."""


def _vector(*values: float) -> Plane:
    return np.asarray(values, np.float32)


def _step(x: Plane, soft: float) -> Plane:
    """0 below -soft, 1 above soft, smooth between."""
    t = np.clip(x / (2 * soft) + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def _bell(x: Plane, y: Plane, cx: float | Plane, cy: float, sx: float, sy: float) -> Plane:
    return np.exp(-(((x - cx) / sx) ** 2) - ((y - cy) / sy) ** 2)


class _Canvas:
    """Colour float32 [S, S, 3] and coverage float32 [S, S] of a patch; later layers lie over earlier ones.

    Attributes:
        u, v: of each pixel; noise: a number about 0 for each; soft: half the width of an edge.
    """

    def __init__(self, size: int, seed: int) -> None:
        axis = ((np.arange(size, dtype=np.float32) + np.float32(0.5)) / size * 2 - 1) * np.float32(REACH)
        self.u, self.v = np.meshgrid(axis, axis)
        self.colour = np.zeros((size, size, 3), np.float32)
        self.alpha = np.zeros((size, size), np.float32)
        self.noise = _noise(seed, size)
        self.soft = 1.2 * REACH / size
        self.step = 2 * REACH / size

    def window(self, left: float, right: float, top: float, bottom: float) -> _Canvas:
        """The part between these u and v: drawing there draws here, at less cost."""
        edges = np.clip(((np.array([left, right, top, bottom]) / REACH + 1) / 2 * len(self.u)).round(), 0, len(self.u))
        x1, x2, y1, y2 = (int(edge) for edge in edges)
        part = copy(self)
        for name in ("u", "v", "colour", "alpha", "noise"):
            setattr(part, name, getattr(self, name)[y1:y2, x1:x2])
        return part

    def lay(self, colour: Plane, cover: Plane) -> None:
        self.colour += cover[..., None] * (colour - self.colour)
        np.maximum(self.alpha, cover, out=self.alpha)


def render(head: Head, size: int) -> tuple[ByteArray, ByteArray]:
    """BGR uint8 [size, size, 3] and coverage uint8 [size, size], upright (roll 0)."""
    c = _Canvas(size, head.grain)
    _shoulders(c.window(-REACH, REACH, 1.25, REACH), head)
    _back_hair(c.window(-1.2, 1.2, -1.25, 1.6), head)
    _neck(c.window(-0.8, 0.8, 0.2, 1.6), head)
    _ears(c, head)
    _face(c.window(-0.83, 0.83, -1.02, 1.02), head)
    _front_hair(c.window(-1, 1, -1.25, 0.95), head)
    _accessory(c.window(-1.1, 1.1, -1.3, 1.35), head)
    # Rounded before the cast, so that the last bit of an exp() cannot change a pixel.
    return _bytes(c.colour), _bytes(c.alpha)


def _bytes(values: Plane) -> ByteArray:
    return np.clip(np.round(np.round(values, 4) * 255), 0, 255).astype(np.uint8)


def _noise(seed: int, size: int) -> Plane:
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, 1, (size // 4 + 2, size // 4 + 2)).astype(np.float32)
    fine = rng.normal(0, 1, (size, size)).astype(np.float32)
    return np.asarray(0.6 * cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR) + 0.4 * fine)


def _shoulders(c: _Canvas, head: Head) -> None:
    top = 1.32 + 0.55 * np.maximum(np.abs(c.u) / 1.9, 0) ** 2
    shade = np.clip(0.75 - 0.25 * np.abs(c.u - head.light[0]) + 0.03 * c.noise, 0.1, 1)
    c.lay(head.cloth * shade[..., None], _step(c.v - top, c.soft))


def _neck(c: _Canvas, head: Head) -> None:
    half = 0.44 + 0.04 * head.cues.jaw
    cover = _step(half + 0.12 * np.maximum(c.v - 1.2, 0) - np.abs(c.u), c.soft) * _step(c.v - 0.3, c.soft)
    cover = cover * _step(1.45 - 0.25 * np.abs(c.u) - c.v, c.soft)
    shadow = 0.55 + 0.3 * _step(c.v - 1.2 + 0.1 * c.u * head.light[0], 0.2)
    c.lay(head.skin * (shadow - 0.25 * np.abs(c.u) / half * 0.5)[..., None], cover)


def _ears(c: _Canvas, head: Head) -> None:
    for side in (-1, 1):
        at = side * 0.73 * head.width * (1 - 0.12 * side * head.yaw) - 0.1 * head.yaw
        ear = c.window(at - 0.14, at + 0.14, -0.15, 0.4)
        inside = 1 - ((ear.u - at) / 0.11) ** 2 - ((ear.v - 0.12) / 0.22) ** 2
        shade = 0.72 - 0.25 * np.clip(inside, 0, 1)
        ear.lay(head.skin * _vector(0.98, 0.94, 1.0) * shade[..., None], _step(inside, 0.15))


def _half_width(v: Plane, head: Head) -> Plane:
    """Half the face's width at height v: a skull, cheeks, and a jaw that narrows towards the chin."""
    skull = np.sqrt(np.clip(1 - (np.minimum(v, 0) / 1.0) ** 2, 0, 1))
    down = np.clip(v, 0, 1)
    jaw = 0.62 + 0.075 * head.cues.jaw
    lower = np.sqrt(np.clip(1 - down**2.6, 0, 1)) * (1 - (1 - jaw) * 0.55 * down)
    return np.asarray(0.735 * head.width * np.where(v < 0, skull, lower), np.float32)


def _face(c: _Canvas, head: Head) -> None:
    half = _half_width(c.v, head)
    inside = np.where(np.abs(c.v) < 1, half - np.abs(c.u), np.float32(-1))
    # Where on the head's sphere a pixel lies: features are placed in these turned coordinates.
    across = np.clip(c.u / 0.76, -0.999, 0.999)
    x = np.sin(np.arcsin(across) - head.yaw * np.cos(np.arcsin(across))) * 0.76
    y = c.v - 0.5 * head.pitch * (1 - c.v**2)
    height = _relief(c, head, x, y, half)
    gy, gx = np.gradient(height, c.step)
    length = np.sqrt(gx * gx + gy * gy + 1)
    lit = np.clip((-gx * head.light[0] - gy * head.light[1] + head.light[2]) / length, 0, 1)
    shade = head.ambient + (1.12 - head.ambient) * lit
    shine = 0.16 * lit**24
    skin = _skin(c, head, x, y)
    colour = _features(c, head, x, y, skin)
    c.lay(np.clip(colour * shade[..., None] + shine[..., None], 0, 1), _step(inside, c.soft))


def _relief(c: _Canvas, head: Head, x: Plane, y: Plane, half: Plane) -> Plane:
    """Height of the face towards the viewer."""
    round_ = 0.62 * np.sqrt(np.clip(1 - (c.u / np.maximum(half + 0.05, 0.06)) ** 2, 0, 1))
    round_ = round_ * np.sqrt(np.clip(1.12 - c.v**2, 0.02, 1.1))
    nose = 0.24 * np.exp(-((x / 0.085) ** 2)) * _step(y + 0.08, 0.16) * _step(0.46 - y, 0.07) * (0.45 + 1.25 * y)
    wings = 0.07 * (_bell(x, y, -0.11, 0.38, 0.06, 0.07) + _bell(x, y, 0.11, 0.38, 0.06, 0.07))
    sockets = -0.085 * (_bell(x, y, -0.31, 0.01, 0.19, 0.13) + _bell(x, y, 0.31, 0.01, 0.19, 0.13))
    brows = 0.05 * np.exp(-(((y + 0.19) / 0.07) ** 2)) * np.exp(-((x / 0.5) ** 4))
    cheeks = (0.05 + 0.02 * head.smile) * (_bell(x, y, -0.4, 0.32, 0.2, 0.18) + _bell(x, y, 0.4, 0.32, 0.2, 0.18))
    lips = 0.05 * _bell(x, y, 0, 0.66, 0.25, 0.09)
    chin = 0.06 * _bell(x, y, 0, 0.9, 0.18, 0.1) - 0.03 * _bell(x, y, 0, 0.78, 0.2, 0.045)
    return np.asarray(round_ + nose + wings + sockets + brows + cheeks + lips + chin, np.float32)


def _skin(c: _Canvas, head: Head, x: Plane, y: Plane) -> Plane:
    red = _bell(x, y, -0.42, 0.34, 0.2, 0.17) + _bell(x, y, 0.42, 0.34, 0.2, 0.17) + 0.8 * _bell(x, y, 0, 0.4, 0.1, 0.1)
    colour = head.skin * (1 + 0.012 * c.noise)[..., None]
    colour = colour * (1 - red[..., None] * _vector(0.09, 0.08, 0.0))
    beard = _step(y - 0.42 - 0.25 * np.exp(-((x / 0.35) ** 2)) + 0.12, 0.12) + _bell(x, y, 0, 0.53, 0.22, 0.05)
    strength = np.clip(0.11 + 0.20 * head.cues.stubble, 0, 0.5) * np.clip(beard, 0, 1) * (1 + 0.25 * c.noise)
    return np.asarray(colour * (1 - np.clip(strength, 0, 0.7)[..., None] * _vector(0.75, 0.85, 0.95)), np.float32)


def _features(c: _Canvas, head: Head, x: Plane, y: Plane, skin: Plane) -> Plane:
    """Eyes, brows, nostrils and mouth painted over the skin."""
    colour, soft = skin.copy(), c.soft

    def paint(what: tuple[float, float, float] | Plane, cover: Plane) -> None:
        nonlocal colour
        colour += cover[..., None] * (np.asarray(what, np.float32) - colour)

    cues, dark = head.cues, head.skin * np.float32(0.35)
    open_ = 0.062 - 0.014 * cues.eyes
    for side in (-1, 1):
        ex, ey = x - side * 0.305, y - 0.02
        # A lid line bends over the eye: half as high at the corners.
        upper = open_ * (1 - (ex / 0.17) ** 2)
        lens = np.minimum(ey + upper, 0.75 * upper - ey)
        paint(dark, 0.45 * _bell(ex, ey, 0, -0.01, 0.2, 0.1))
        paint((0.82, 0.84, 0.86), _step(lens, soft))
        iris = 0.062 - np.sqrt(ex**2 + ey**2)
        paint((0.12, 0.16, 0.22), _step(iris, soft) * _step(lens, soft))
        paint((0.02, 0.02, 0.02), _step(iris - 0.033, soft) * _step(lens, soft))
        paint((1, 1, 1), _bell(ex, ey, 0.02 + 0.01 * head.light[0], -0.022, 0.014, 0.014))
        line = 0.014 - np.abs(ey + upper) + 0.004 * (1 - cues.eyes)
        paint((0.03, 0.03, 0.04), 0.9 * _step(line, soft) * _step(0.17 - np.abs(ex), soft))
        paint(dark, 0.35 * _step(0.008 - np.abs(ey - 0.75 * upper), soft) * _step(0.16 - np.abs(ex), soft))
        # Brows: an arc, thicker towards the nose.
        bx = ex * side
        arc = y + 0.165 - 0.030 * cues.lift + 0.055 * (1 - ((bx - 0.03) / 0.26) ** 2)
        thick = (0.038 + 0.018 * cues.brow) * np.clip(1.05 - 0.9 * np.maximum(bx, 0) / 0.26, 0.25, 1)
        paint(
            head.hair_colour * 0.55,
            0.85 * _step(thick - np.abs(arc), 1.6 * soft) * _step(0.235 - np.abs(bx - 0.01), 0.03),
        )
        paint(dark * 0.6, 0.9 * _bell(x, y, side * 0.062, 0.432, 0.036, 0.02))
        paint(dark, 0.28 * _bell(x, y, side * (0.2 + 0.35 * (y - 0.42)), 0.5, 0.03, 0.14) * (0.4 + head.smile))
    paint(dark, 0.3 * _bell(x, y, 0, 0.455, 0.13, 0.022))
    # Mouth: corners lift with the smile.
    my = y - 0.645 + 0.5 * head.smile * 0.16 * (x / 0.25) ** 2
    wide = 0.215 + 0.04 * head.smile
    shape = np.clip(1 - (x / wide) ** 2, 0, 1)
    full = 0.064 - 0.014 * cues.lips
    lips = np.minimum(my + 0.8 * full * shape * (1 - 0.25 * np.exp(-((x / 0.04) ** 2))), 1.15 * full * shape - my)
    tint = 0.42 - 0.22 * cues.lips
    lip = head.skin * (1 - np.clip(tint, 0.1, 0.9) * _vector(0.55, 0.62, 0.12)) * np.float32(0.92)
    paint(lip, _step(lips, 1.5 * soft) * _step(wide - np.abs(x), soft))
    if head.smile > 0.65:
        teeth = np.minimum(my + 0.2 * full * shape, 0.4 * full * shape - my)
        paint((0.86, 0.9, 0.92), _step(teeth, soft) * _step(0.8 * wide - np.abs(x), 0.02))
    paint((0.08, 0.06, 0.16), 0.8 * _step(0.011 - np.abs(my), soft) * _step(wide - np.abs(x), 0.02))
    paint(dark, 0.35 * _bell(x, y, 0, 0.765, 0.16, 0.03))
    return colour


def _strands(c: _Canvas) -> Plane:
    """Hair's texture: streaks that run down."""
    return np.asarray(1 + 0.22 * np.sin(23 * c.u + 5 * np.sin(3 * c.v) + 1.2 * c.noise) + 0.10 * c.noise, np.float32)


def _back_hair(c: _Canvas, head: Head) -> None:
    length = np.clip(0.45 - 0.55 * head.cues.hair, -0.5, 1.45)
    wide = 0.86 * head.width + 0.05 * np.clip(c.v, 0, 1) - 0.03 * head.cues.hair
    cap = 1 - (c.u / wide) ** 2 - (np.minimum(c.v - 0.02, 0) / 1.14) ** 2
    cover = _step(cap, 0.04) * _step(length - c.v + 0.05 * np.cos(9 * c.u), 0.06)
    c.lay(head.hair_colour * (0.6 * _strands(c))[..., None], cover)


def _front_hair(c: _Canvas, head: Head) -> None:
    """From the skull's outline down to the hairline; sides come down to the ears, further when it is long."""
    wide, parting = 0.84 * head.width, 0.25 * np.sign(head.yaw + 1e-6)
    skull = 1 - (c.u / wide) ** 2 - (np.minimum(c.v - 0.02, 0) / 1.13) ** 2
    side = np.clip(0.1 - 0.2 * head.cues.hair, -0.3, 0.6)
    line = -0.6 + 0.1 * np.exp(-(((c.u - parting) / 0.2) ** 2)) * 0.4
    line = line + (side + 0.6) * np.clip((np.abs(c.u) - 0.50 * head.width) / 0.18, 0, 1) ** 1.2
    cover = _step(skull, 0.04) * _step(line - c.v, 0.035) * _step(side + 0.15 - c.v, 0.1)
    gloss = 0.75 + 0.5 * _bell(c.u, c.v, 0.3 * float(head.light[0]), -0.8, 0.5, 0.16)
    c.lay(np.clip(head.hair_colour * (gloss * _strands(c))[..., None], 0, 1), cover)


def _accessory(c: _Canvas, head: Head) -> None:
    shift = 0.62 * head.yaw
    if head.accessory in ("glasses", "sunglasses"):
        for side in (-1, 1):
            lens = 1 - (np.abs(c.u - side * 0.31 - shift * 0.9) / 0.22) ** 4 - (np.abs(c.v - 0.04) / 0.15) ** 4
            if head.accessory == "sunglasses":
                c.lay(_vector(0.06, 0.05, 0.05) + 0.1 * (c.v[..., None] < -0.02), 0.95 * _step(lens, 0.2))
            c.lay(_vector(0.07, 0.07, 0.08), 0.9 * _step(0.2 - np.abs(lens), 0.12))
        bridge = _step(0.018 - np.abs(c.v - 0.0), c.soft) * _step(0.12 - np.abs(c.u - shift * 0.9), c.soft)
        c.lay(_vector(0.07, 0.07, 0.08), bridge)
    elif head.accessory == "mask":
        half = _half_width(c.v, head)
        cover = _step(c.v - 0.3 + 0.12 * np.exp(-(((c.u - shift) / 0.2) ** 2)), c.soft) * _step(
            half - 0.03 - np.abs(c.u), c.soft
        )
        fold = 0.9 + 0.04 * np.sin(26 * c.v) - 0.25 * np.abs(c.u) + 0.02 * c.noise
        c.lay(np.clip(_vector(0.86, 0.8, 0.72) * fold[..., None], 0, 1), cover)
    elif head.accessory == "hand":
        side = 1 if head.cloth[0] > 0.45 else -1
        for finger in range(4):
            x = side * (0.52 + 0.1 * finger) + 0.25 * side * (c.v - 0.6)
            inside = 0.062 - np.abs(c.u - x)
            cover = _step(inside, 0.02) * _step(c.v - 0.22 - 0.05 * abs(finger - 1.5), 0.05) * _step(1.2 - c.v, 0.1)
            c.lay(head.skin * (0.62 + 5 * np.clip(inside, 0, 0.06))[..., None], cover)
    elif head.accessory == "hat":
        crown = 1 - (c.u / (0.9 * head.width)) ** 2 - (np.minimum(c.v + 0.35, 0) / 0.86) ** 2
        cover = _step(crown, 0.04) * _step(-0.52 + 0.06 * c.u**2 - c.v, 0.02)
        c.lay(np.clip(head.cloth[::-1] * (0.8 + 0.1 * np.sin(30 * c.u))[..., None], 0, 1), cover)
