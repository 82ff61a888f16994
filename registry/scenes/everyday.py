"""Everyday things, seen from the side, upright.

A thing fills about [0, w] x [0, 1], y pointing down; `w` differs from thing to thing. What tells classes apart is shape
and the order of parts; colours vary wherever the real thing's do.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from registry.scenes.colours import SKIN, Colour, pick, tone
from registry.scenes.sketch import Part, bar, box, fill, oval

BRIGHTEST = 250
SHIRTS: tuple[Colour, ...] = ((150, 80, 40), (60, 60, 180), (190, 190, 185), (60, 150, 205))
TROUSERS: tuple[Colour, ...] = ((45, 40, 38), (120, 70, 35))
PAINT: tuple[Colour, ...] = (
    (40, 40, 190), (170, 80, 30), (215, 215, 215), (50, 50, 50), (120, 130, 60), (40, 170, 220), (140, 140, 145),
)  # fmt: skip
GLASS: Colour = (150, 130, 105)
TYRE: Colour = (32, 30, 30)
MIDDLE = 0.22
"""x of a person's middle."""
_pick = partial(pick, gain=1.2, brightest=BRIGHTEST)


def person(rng: np.random.Generator, shirt: Colour | None = None) -> list[Part]:
    """Standing or walking, from the front or the side, around x = MIDDLE; in this shirt, or in any."""
    skin, shirt, legs = _pick(rng, SKIN), shirt or _pick(rng, SHIRTS), _pick(rng, TROUSERS)
    hair = _pick(rng, ((25, 25, 28), (40, 60, 95), (60, 120, 170), (150, 150, 155)))
    stride, swing = rng.uniform(0.02, 0.12), rng.uniform(0.05, 0.2)
    x = MIDDLE
    parts = [
        bar((x - 0.05, 0.5), (x - stride - 0.03, 0.96), 0.1, legs),
        bar((x + 0.05, 0.5), (x + stride + 0.03, 0.96), 0.1, tone(legs, 0.9)),
    ]
    for side, foot in ((-1, x - stride - 0.03), (1, x + stride + 0.03)):
        parts.append(oval(foot + 0.02, 0.97, 0.06, 0.03, (30, 30, 34)))
        hand = (x + side * (0.12 + swing), 0.5 - float(rng.uniform(0, 0.12)))
        parts.append(bar((x + side * 0.09, 0.21), hand, 0.07, tone(shirt, 0.92)))
        parts.append(oval(*hand, 0.035, 0.035, skin))
    parts += [
        fill([(x - 0.13, 0.19), (x + 0.13, 0.19), (x + 0.1, 0.54), (x - 0.1, 0.54)], shirt),
        box(x - 0.03, 0.14, x + 0.03, 0.2, skin),
        oval(x, 0.09, 0.065, 0.085, skin),
        oval(x, 0.065, 0.068, 0.065, hair, 0.5, 1.0),
    ]
    return parts


def car(rng: np.random.Generator) -> list[Part]:
    """From the side: saloon, estate or hatchback."""
    body = _pick(rng, ((40, 40, 200), (190, 90, 30), (225, 225, 225)))
    long, roof = rng.uniform(2.1, 2.6), rng.uniform(0.38, 0.48)
    front, back = rng.uniform(0.25, 0.38), rng.uniform(0.62, 0.92)
    a, b, c, d = long * front, long * (front + 0.13), long * (back - 0.1), long * back
    wheel = rng.uniform(0.19, 0.23)
    parts = [
        fill([(a, roof), (b, 0), (c, 0), (min(d, long), roof)], body),
        fill([(0.02, 0.55), (0.1, roof), (long - 0.1, roof), (long, 0.55), (long, 0.82), (0, 0.82)], body),
        fill([(a + 0.12, roof), (b + 0.04, 0.07), ((b + c) / 2 - 0.04, 0.07), ((b + c) / 2 - 0.04, roof)], GLASS),
        fill([((b + c) / 2 + 0.04, roof), ((b + c) / 2 + 0.04, 0.07), (c - 0.03, 0.07), (d - 0.12, roof)], GLASS),
        box(0, 0.5, 0.1, 0.6, (200, 240, 250)),
        box(long - 0.09, 0.5, long, 0.6, (30, 30, 200)),
        box(0, 0.74, long, 0.83, tone(body, 0.6)),
    ]
    for x in (long * 0.2, long * 0.8):
        parts += [oval(x, 0.8, wheel, wheel, TYRE), oval(x, 0.8, wheel * 0.5, wheel * 0.5, (175, 175, 175))]
    return parts


def traffic_light(rng: np.random.Generator) -> list[Part]:
    """Three lamps one above the other, one or two lit."""
    case = _pick(rng, ((30, 32, 30), (45, 48, 45), (40, 150, 190)))
    lit = int(rng.integers(3))
    parts = [box(0, 0, 0.4, 1, case), box(0.03, 0.02, 0.37, 0.98, tone(case, 0.7))]
    for n, lamp in enumerate(((40, 40, 235), (40, 190, 245), (90, 220, 60))):
        y = 0.19 + 0.31 * n
        bright = n == lit or rng.random() < 0.08
        parts.append(oval(0.2, y, 0.13, 0.13, lamp if bright else tone(lamp, 0.3)))
    return parts


def stop_sign(rng: np.random.Generator) -> list[Part]:
    """A red octagon with a white rim and bars for its letters."""
    red = (float(rng.uniform(25, 60)), float(rng.uniform(25, 60)), float(rng.uniform(150, 225)))
    turns = 2 * np.pi * (np.arange(8) + 0.5) / 8
    corners = np.stack([np.cos(turns), np.sin(turns)], axis=1) / 1.848 + 0.5
    parts = [fill(corners, (235, 235, 235)), fill((corners - 0.5) * 0.9 + 0.5, red)]
    for n in range(4):
        left = 0.19 + 0.16 * n
        parts.append(box(left, 0.38, left + 0.11, 0.62, (235, 235, 235)))
        parts.append(box(left + 0.04, 0.44, left + 0.075, 0.5 + 0.06 * (n % 2), red))
    return parts


def clock(rng: np.random.Generator) -> list[Part]:
    """A white dial in a dark or coloured rim, with twelve marks and two hands."""
    rim, ink = _pick(rng, PAINT), (35.0, 32.0, 30.0)
    parts = [oval(0.5, 0.5, 0.5, 0.5, rim), oval(0.5, 0.5, 0.41, 0.41, (238, 240, 240))]
    for n in range(12):
        c, s = float(np.cos(np.pi * n / 6)), float(np.sin(np.pi * n / 6))
        wide = 0.045 if n % 3 == 0 else 0.025
        parts.append(bar((0.5 + 0.31 * c, 0.5 + 0.31 * s), (0.5 + 0.39 * c, 0.5 + 0.39 * s), wide, ink))
    for length, wide in ((0.2, 0.06), (0.31, 0.04)):
        turn = float(rng.uniform(0, 2 * np.pi))
        tip = (0.5 + length * float(np.cos(turn)), 0.5 + length * float(np.sin(turn)))
        parts.append(bar((0.5, 0.5), tip, wide, ink))
    return [*parts, oval(0.5, 0.5, 0.035, 0.035, (40, 40, 190))]


def bottle(rng: np.random.Generator) -> list[Part]:
    """Glass or plastic, with neck, cap and label."""
    glass = _pick(rng, ((60, 125, 40), (45, 85, 50), (35, 65, 105)))
    wide, neck = rng.uniform(0.28, 0.36), rng.uniform(0.09, 0.13)
    shoulder, left = rng.uniform(0.3, 0.42), 0.0
    x = left + wide / 2
    outline = [
        (x - neck / 2, 0.06), (x + neck / 2, 0.06), (x + neck / 2, shoulder - 0.1), (x + wide / 2, shoulder),
        (x + wide / 2, 0.97), (x + wide / 2 - 0.03, 1), (x - wide / 2 + 0.03, 1), (x - wide / 2, 0.97),
        (x - wide / 2, shoulder), (x - neck / 2, shoulder - 0.1),
    ]  # fmt: skip
    cap, label = _pick(rng, PAINT), _pick(rng, ((225, 230, 235), (200, 220, 230)))
    return [
        fill(outline, glass),
        box(x - neck / 2 - 0.015, 0, x + neck / 2 + 0.015, 0.08, cap),
        box(x - wide / 2, shoulder + 0.12, x + wide / 2, shoulder + 0.38, label),
        box(x - wide / 2 + 0.03, shoulder + 0.02, x - wide / 2 + 0.06, 0.95, tone(glass, 1.5)),
    ]


def apple(rng: np.random.Generator) -> list[Part]:
    """Red to green, dented where the stem is, with a leaf and a highlight."""
    skin = _pick(rng, ((35, 35, 205), (30, 60, 190), (60, 190, 120)))
    turns = np.linspace(0, 2 * np.pi, 33)
    reach = 0.44 * (
        1 - 0.16 * np.exp(-(((turns - 1.5 * np.pi) / 0.45) ** 2)) - 0.06 * np.exp(-(((turns - np.pi / 2) / 0.35) ** 2))
    )
    body = np.stack([0.5 + 1.06 * reach * np.cos(turns), 0.58 + reach * np.sin(turns)], axis=1)
    lean = float(rng.uniform(-0.1, 0.1))
    leaf = [(0.5, 0.18), (0.62, 0.05), (0.8, 0.04), (0.7, 0.17)]
    return [
        fill(body, skin),
        oval(0.33, 0.42, 0.07, 0.11, tone(skin, 1.6, BRIGHTEST)),
        bar((0.5, 0.28), (0.5 + lean, 0.04), 0.05, (35, 60, 85)),
        fill(leaf, _pick(rng, ((50, 140, 60), (40, 110, 45)))),
    ]


def banana(rng: np.random.Generator) -> list[Part]:
    """A crescent with dark ends, some spotted."""
    peel = (float(rng.uniform(20, 60)), float(rng.uniform(190, 225)), float(rng.uniform(215, 245)))
    bow, thick = rng.uniform(0.45, 0.6), rng.uniform(0.32, 0.42)
    t = np.linspace(0, 1, 15)
    x = 1.8 * t
    outer = bow + thick - 4 * bow * (t - 0.5) ** 2
    inner = bow - 4 * bow * 1.05 * (t - 0.5) ** 2 + thick * 0.15 * np.abs(2 * t - 1)
    shape = np.concatenate([np.stack([x, outer], axis=1), np.stack([x, inner], axis=1)[::-1]])
    ridge = np.concatenate([np.stack([x, (outer * 0.45 + inner * 0.55)], axis=1), np.stack([x, inner], axis=1)[::-1]])
    parts = [fill(shape, peel), fill(ridge, tone(peel, 0.85))]
    for n, tip in ((0, (40, 60, 70)), (-1, (40, 90, 90))):
        parts.append(oval(float(x[n]), float((outer[n] + inner[n]) / 2), 0.05, 0.06, tip))
    for _ in range(int(rng.integers(0, 4))):
        at = int(rng.integers(3, 12))
        parts.append(oval(float(x[at]), float(outer[at] * 0.7 + inner[at] * 0.3), 0.04, 0.02, (30, 60, 90)))
    return parts
