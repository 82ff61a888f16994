"""Tools and household goods, seen from the side, easily taken for a firearm: they lie along x from 0 to about 1."""

from __future__ import annotations

import numpy as np

from registry.scenes.colours import GRIPS, STEEL, VIVID, highlight, pick, tone
from registry.scenes.sketch import Part, Thing, box, fill, line, oval, ring


def drill(rng: np.random.Generator) -> list[Part]:
    """A cordless drill: the pistol's outline, with a chuck for a muzzle and a battery for a butt."""
    body, dark = pick(rng, VIVID), pick(rng, STEEL)
    return [
        line([(0.85, 0.13), (1.05, 0.13)], 0.03, (150, 150, 150)),
        fill([(0.7, 0.03), (0.88, 0.08), (0.88, 0.18), (0.7, 0.24)], dark),
        fill([(0.02, 0.02), (0.66, 0.0), (0.72, 0.05), (0.72, 0.24), (0.04, 0.28)], body),
        fill([(0.15, 0.26), (0.36, 0.26), (0.3, 0.6), (0.1, 0.6)], tone(body, 0.8)),
        fill([(0.0, 0.58), (0.42, 0.58), (0.42, 0.74), (0.0, 0.74)], dark),
        fill([(0.36, 0.28), (0.41, 0.28), (0.4, 0.38), (0.35, 0.36)], dark),
        line([(0.08, 0.1), (0.5, 0.1)], 0.04, highlight(body, 1.3)),
    ]


def hair_dryer(rng: np.random.Generator) -> list[Part]:
    body = pick(rng, VIVID)
    return [
        fill([(0.0, 0.02), (0.12, 0.0), (0.6, 0.04), (0.6, 0.3), (0.12, 0.34), (0.0, 0.3)], body),
        fill([(0.58, 0.06), (0.8, 0.02), (0.8, 0.32), (0.58, 0.28)], tone(body, 0.6)),
        fill([(0.2, 0.3), (0.38, 0.3), (0.34, 0.78), (0.22, 0.78)], tone(body, 0.9)),
        line([(0.28, 0.78), (0.3, 0.9), (0.2, 1.0)], 0.03, (30, 30, 30)),
    ]


def hammer(rng: np.random.Generator) -> list[Part]:
    wood, steel = pick(rng, GRIPS + VIVID[:4]), pick(rng, STEEL)
    return [
        fill([(0.0, 0.12), (0.85, 0.14), (0.85, 0.2), (0.0, 0.23)], wood),
        fill([(0.82, 0.0), (0.96, 0.0), (0.96, 0.36), (0.82, 0.36)], steel),
        fill([(0.82, 0.0), (0.96, 0.0), (1.0, -0.16), (0.92, -0.14)], highlight(steel, 1.2)),
    ]


def wrench(rng: np.random.Generator) -> list[Part]:
    steel = pick(rng, STEEL[3:] + VIVID[:1])
    return [
        fill([(0.1, 0.06), (0.8, 0.05), (0.8, 0.14), (0.1, 0.13)], steel),
        oval(0.08, 0.095, 0.1, 0.09, steel, knots=17),
        fill([(0.76, 0.0), (0.92, -0.06), (1.0, 0.0), (0.9, 0.06), (0.9, 0.12), (1.0, 0.19), (0.92, 0.25)], steel),
        line([(0.15, 0.095), (0.75, 0.095)], 0.02, highlight(steel, 1.4)),
    ]


def bottle(rng: np.random.Generator) -> list[Part]:
    glass = pick(rng, VIVID)
    return [
        fill([(0, 0), (0.6, 0), (0.76, 0.09), (0.95, 0.1), (0.95, 0.2), (0.76, 0.21), (0.6, 0.3), (0, 0.3)], glass),
        box(0.94, 0.085, 1.0, 0.215, tone(glass, 0.5)),
        box(0.15, 0.0, 0.5, 0.3, (225, 228, 230)),
        line([(0.04, 0.06), (0.6, 0.06)], 0.03, highlight(glass, 1.5)),
    ]


def umbrella(rng: np.random.Generator) -> list[Part]:
    cloth, dark = pick(rng, VIVID + STEEL[:3]), pick(rng, STEEL)
    return [
        line([(0.0, 0.16), (0.0, 0.08), (0.05, 0.05), (0.25, 0.06)], 0.03, dark),
        fill([(0.2, 0.04), (0.5, 0.0), (0.95, 0.04), (0.95, 0.08), (0.5, 0.13), (0.2, 0.08)], cloth),
        line([(0.94, 0.06), (1.0, 0.06)], 0.018, (150, 150, 150)),
        line([(0.24, 0.06), (0.9, 0.06)], 0.012, tone(cloth, 0.6)),
    ]


def telephone(rng: np.random.Generator) -> list[Part]:
    case = pick(rng, STEEL)
    screen = highlight(pick(rng, VIVID), 1.1)
    return [
        box(0.0, 0.0, 0.8, 0.4, case),
        box(0.05, 0.03, 0.75, 0.37, screen if rng.random() < 0.6 else (18, 16, 16)),
        line([(0.1, 0.07), (0.4, 0.07)], 0.02, (235, 235, 235)),
    ]


def bracket(rng: np.random.Generator) -> list[Part]:
    """An L-shaped piece of metal."""
    steel = pick(rng, STEEL)
    wide, down = rng.uniform(0.1, 0.2), rng.uniform(0.4, 0.8)
    return [
        fill([(0, 0), (0.9, 0), (0.9, wide), (wide, wide), (wide, down), (0, down)], steel),
        *(oval(x, wide / 2, 0.03, 0.03, (15, 15, 15), knots=17) for x in (0.3, 0.55, 0.8)),
    ]


def torch(rng: np.random.Generator) -> list[Part]:
    body = pick(rng, STEEL + VIVID[:3])
    return [
        box(0.0, 0.05, 0.7, 0.2, body),
        fill([(0.68, 0.05), (0.85, 0.0), (0.98, 0.0), (0.98, 0.25), (0.85, 0.25), (0.68, 0.2)], tone(body, 0.8)),
        box(0.97, 0.02, 1.0, 0.23, (200, 235, 245)),
        *(line([(x, 0.06), (x, 0.19)], 0.012, tone(body, 0.6)) for x in (0.1, 0.18, 0.26, 0.34)),
    ]


def scissors(rng: np.random.Generator) -> list[Part]:
    handle, steel = pick(rng, VIVID), pick(rng, STEEL[3:5])
    return [
        fill([(0.35, 0.15), (1.0, 0.02), (0.4, 0.24)], steel),
        fill([(0.35, 0.2), (1.0, 0.3), (0.4, 0.1)], tone(steel, 0.9)),
        ring(0.16, 0.04, 0.15, 0.09, 0.05, handle),
        ring(0.16, 0.3, 0.15, 0.09, 0.05, handle),
    ]


GOODS: tuple[Thing, ...] = (
    drill, hair_dryer, hammer, wrench, bottle, umbrella, telephone, bracket, torch, scissors,
)  # fmt: skip
