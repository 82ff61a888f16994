"""Firearms, seen from the side: they lie along x from 0 to the muzzle at 1, y points down."""

from __future__ import annotations

import numpy as np

from registry.scenes.colours import GRIPS, STEEL, WOOD, highlight, pick, tone
from registry.scenes.sketch import Part, Thing, box, fill, line, ring


def pistol(rng: np.random.Generator) -> list[Part]:
    """A self-loading pistol."""
    metal, grip = pick(rng, STEEL), pick(rng, GRIPS)
    high, long = rng.uniform(0.16, 0.22), rng.uniform(0.45, 0.6)
    wide, slant = rng.uniform(0.22, 0.28), rng.uniform(0.06, 0.17)
    butt = high + long
    parts = [
        ring(0.43, high + 0.11, 0.12, 0.1, 0.035, metal),
        fill([(0.03, high), (0.8, high), (0.78, high + 0.07), (0.03, high + 0.08)], tone(metal, 0.8)),
        fill([(0.03, high + 0.04), (0.05 + wide, high + 0.04), (0.05 + wide - slant, butt), (-slant, butt)], grip),
        fill([(0, 0), (0.96, 0), (1, 0.03), (1, high * 0.85), (0.95, high), (0, high)], metal),
        line([(0.02, 0.035), (0.96, 0.035)], 0.02, highlight(metal, 1.6)),
        line([(0.4, high + 0.03), (0.38, high + 0.12)], 0.03, tone(metal, 0.6)),
        box(0.02, -0.03, 0.07, 0.0, metal),
        box(0.9, -0.03, 0.95, 0.0, metal),
        box(0.97, high * 0.25, 1.0, high * 0.65, (8, 8, 8)),
    ]
    parts += [line([(x, 0.05), (x, high - 0.03)], 0.012, tone(metal, 0.55)) for x in (0.06, 0.1, 0.14, 0.18)]
    if rng.random() < 0.5:
        parts.append(box(0.45, 0.02, 0.62, 0.07, tone(metal, 0.5)))
    return parts


def revolver(rng: np.random.Generator) -> list[Part]:
    metal, grip = pick(rng, STEEL), pick(rng, GRIPS)
    snub = rng.uniform(0.0, 0.18)
    butt = rng.uniform(0.5, 0.62)
    return [
        ring(0.36, 0.27, 0.11, 0.09, 0.03, metal),
        fill([(0.06, 0.1), (0.26, 0.14), (0.22, 0.34), (0.12, butt), (-0.09, butt), (-0.02, 0.3)], grip),
        fill([(0.04, 0.0), (0.5, -0.01), (0.5, 0.2), (0.16, 0.2), (0.04, 0.12)], metal),
        fill([(0.46, 0.0), (1 - snub, 0.0), (1 - snub, 0.09), (0.46, 0.1)], metal),
        fill([(0.46, 0.1), (0.9 - snub, 0.1), (0.88 - snub, 0.13), (0.46, 0.14)], tone(metal, 0.8)),
        box(0.22, -0.03, 0.45, 0.19, highlight(metal, 1.25)),
        *(line([(0.25, y), (0.42, y)], 0.018, tone(metal, 0.6)) for y in (0.03, 0.09, 0.15)),
        fill([(0.02, 0.03), (-0.05, -0.07), (0.0, -0.07), (0.07, 0.0)], tone(metal, 0.9)),
        fill([(0.93 - snub, 0.0), (0.97 - snub, -0.04), (0.99 - snub, 0.0)], metal),
        line([(0.34, 0.2), (0.32, 0.29)], 0.025, tone(metal, 0.6)),
    ]


def rifle(rng: np.random.Generator) -> list[Part]:
    """An assault rifle or a carbine."""
    metal, wood = pick(rng, STEEL), pick(rng, GRIPS)
    end = rng.uniform(0.74, 0.82)
    bend = rng.uniform(-0.01, 0.07)
    parts = [
        line([(end - 0.02, 0.035), (1.0, 0.035)], 0.028, metal),
        fill([(0, 0.0), (0.28, 0.01), (0.28, 0.09), (0.1, 0.12), (0, 0.17)], wood),
        fill([(0.27, -0.01), (0.56, -0.01), (0.56, 0.1), (0.27, 0.1)], metal),
        fill([(0.55, 0.0), (end, 0.01), (end, 0.075), (0.55, 0.095)], wood),
        fill([(0.31, 0.09), (0.38, 0.09), (0.35, 0.22), (0.28, 0.21)], wood),
        fill([(0.45, 0.1), (0.53, 0.1), (0.55 + bend, 0.26), (0.47 + bend, 0.28)], tone(metal, 0.85)),
        ring(0.41, 0.12, 0.035, 0.03, 0.014, metal),
        fill([(0.9, 0.03), (0.92, -0.04), (0.94, 0.03)], metal),
        line([(0.28, 0.01), (0.55, 0.01)], 0.012, highlight(metal, 1.6)),
    ]
    if rng.random() < 0.4:
        parts += [
            box(0.33, -0.085, 0.55, -0.035, tone(metal, 0.8)),
            box(0.37, -0.04, 0.4, 0.0, metal),
            box(0.48, -0.04, 0.51, 0.0, metal),
        ]
    return parts


def shotgun(rng: np.random.Generator) -> list[Part]:
    """A hunting gun: a wooden stock, a long barrel, no magazine."""
    metal, wood = pick(rng, STEEL), pick(rng, WOOD)
    parts = [
        line([(0.42, 0.02), (1.0, 0.02)], 0.032, metal),
        line([(0.46, 0.055), (0.9, 0.055)], 0.026, tone(metal, 0.8)),
        fill([(0, 0.07), (0.24, 0.0), (0.33, 0.0), (0.33, 0.08), (0.26, 0.1), (0.02, 0.22)], wood),
        fill([(0.31, -0.01), (0.48, 0.0), (0.48, 0.08), (0.31, 0.09)], metal),
        fill([(0.55, 0.03), (0.74, 0.035), (0.74, 0.085), (0.55, 0.09)], wood),
        ring(0.36, 0.11, 0.04, 0.03, 0.014, metal),
        line([(0.44, 0.012), (0.99, 0.012)], 0.008, highlight(metal, 1.7)),
    ]
    if rng.random() < 0.35:
        parts.append(box(0.3, -0.075, 0.52, -0.03, tone(metal, 0.7)))
    return parts


def submachine_gun(rng: np.random.Generator) -> list[Part]:
    metal, grip = pick(rng, STEEL), pick(rng, GRIPS)
    return [
        line([(0.7, 0.08), (1.0, 0.08)], 0.05, tone(metal, 0.8)),
        line([(0.0, 0.06), (0.2, 0.06)], 0.025, metal),
        line([(0.0, 0.03), (0.0, 0.2)], 0.035, metal),
        fill([(0.18, 0.0), (0.76, 0.0), (0.76, 0.16), (0.18, 0.16)], metal),
        fill([(0.26, 0.15), (0.36, 0.15), (0.31, 0.4), (0.2, 0.38)], grip),
        fill([(0.5, 0.16), (0.6, 0.16), (0.6, 0.52), (0.5, 0.52)], tone(metal, 0.85)),
        ring(0.42, 0.2, 0.06, 0.05, 0.018, metal),
        line([(0.2, 0.03), (0.75, 0.03)], 0.018, highlight(metal, 1.6)),
        box(0.68, -0.05, 0.71, 0.0, metal),
    ]


HANDGUNS: tuple[Thing, ...] = (pistol, revolver)
LONG_GUNS: tuple[Thing, ...] = (rifle, shotgun, submachine_gun)
