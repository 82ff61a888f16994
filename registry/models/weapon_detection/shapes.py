"""Things drawn as polygons, seen from the side: firearms, and what is easily taken for one.

A thing lies along x from 0 to about 1 (a gun's muzzle is at 1), y points down. Its parts are painted in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from registry.vision.polygons import Colour, Part, Points

STEEL: tuple[Colour, ...] = ((38, 36, 35), (60, 57, 54), (25, 24, 24), (96, 92, 88), (150, 146, 140), (48, 54, 58))
GRIPS: tuple[Colour, ...] = ((30, 29, 28), (26, 44, 70), (38, 66, 104), (45, 50, 52), (60, 92, 120), (22, 22, 24))
VIVID: tuple[Colour, ...] = (
    (40, 190, 235),  # yellow
    (30, 110, 235),  # orange
    (160, 130, 20),  # teal
    (60, 60, 200),  # red
    (150, 90, 40),  # blue
    (70, 150, 60),  # green
    (60, 58, 56),
    (210, 208, 205),
)


def _pick(rng: np.random.Generator, colours: Sequence[Colour]) -> Colour:
    base = np.array(colours[int(rng.integers(len(colours)))]) * rng.uniform(0.8, 1.25)
    blue, green, red = (float(v) for v in np.clip(base, 8, 245))
    return blue, green, red


def _tone(colour: Colour, gain: float) -> Colour:
    blue, green, red = (float(v) for v in np.clip(np.array(colour) * gain + (6 if gain > 1 else 0), 0, 255))
    return blue, green, red


def _fill(points: Points, colour: Colour) -> Part:
    return Part(np.array(points, dtype=np.float64), colour)


def _line(points: Points, pen: float, colour: Colour) -> Part:
    return Part(np.array(points, dtype=np.float64), colour, pen)


def _box(x1: float, y1: float, x2: float, y2: float, colour: Colour) -> Part:
    return _fill([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], colour)


def _oval(x: float, y: float, across: float, down: float) -> list[tuple[float, float]]:
    turns = np.linspace(0, 2 * np.pi, 17)
    return [(x + across * float(np.cos(t)), y + down * float(np.sin(t))) for t in turns]


def pistol(rng: np.random.Generator) -> list[Part]:
    """A self-loading pistol."""
    metal, grip = _pick(rng, STEEL), _pick(rng, GRIPS)
    high, long = rng.uniform(0.16, 0.22), rng.uniform(0.45, 0.6)
    wide, slant = rng.uniform(0.22, 0.28), rng.uniform(0.06, 0.17)
    butt = high + long
    parts = [
        _line(_oval(0.43, high + 0.11, 0.12, 0.1), 0.035, metal),
        _fill([(0.03, high), (0.8, high), (0.78, high + 0.07), (0.03, high + 0.08)], _tone(metal, 0.8)),
        _fill([(0.03, high + 0.04), (0.05 + wide, high + 0.04), (0.05 + wide - slant, butt), (-slant, butt)], grip),
        _fill([(0, 0), (0.96, 0), (1, 0.03), (1, high * 0.85), (0.95, high), (0, high)], metal),
        _line([(0.02, 0.035), (0.96, 0.035)], 0.02, _tone(metal, 1.6)),
        _line([(0.4, high + 0.03), (0.38, high + 0.12)], 0.03, _tone(metal, 0.6)),
        _box(0.02, -0.03, 0.07, 0.0, metal),
        _box(0.9, -0.03, 0.95, 0.0, metal),
        _box(0.97, high * 0.25, 1.0, high * 0.65, (8, 8, 8)),
    ]
    parts += [_line([(x, 0.05), (x, high - 0.03)], 0.012, _tone(metal, 0.55)) for x in (0.06, 0.1, 0.14, 0.18)]
    if rng.random() < 0.5:
        parts.append(_box(0.45, 0.02, 0.62, 0.07, _tone(metal, 0.5)))
    return parts


def revolver(rng: np.random.Generator) -> list[Part]:
    metal, grip = _pick(rng, STEEL), _pick(rng, GRIPS)
    snub = rng.uniform(0.0, 0.18)
    butt = rng.uniform(0.5, 0.62)
    return [
        _line(_oval(0.36, 0.27, 0.11, 0.09), 0.03, metal),
        _fill([(0.06, 0.1), (0.26, 0.14), (0.22, 0.34), (0.12, butt), (-0.09, butt), (-0.02, 0.3)], grip),
        _fill([(0.04, 0.0), (0.5, -0.01), (0.5, 0.2), (0.16, 0.2), (0.04, 0.12)], metal),
        _fill([(0.46, 0.0), (1 - snub, 0.0), (1 - snub, 0.09), (0.46, 0.1)], metal),
        _fill([(0.46, 0.1), (0.9 - snub, 0.1), (0.88 - snub, 0.13), (0.46, 0.14)], _tone(metal, 0.8)),
        _box(0.22, -0.03, 0.45, 0.19, _tone(metal, 1.25)),
        *(_line([(0.25, y), (0.42, y)], 0.018, _tone(metal, 0.6)) for y in (0.03, 0.09, 0.15)),
        _fill([(0.02, 0.03), (-0.05, -0.07), (0.0, -0.07), (0.07, 0.0)], _tone(metal, 0.9)),
        _fill([(0.93 - snub, 0.0), (0.97 - snub, -0.04), (0.99 - snub, 0.0)], metal),
        _line([(0.34, 0.2), (0.32, 0.29)], 0.025, _tone(metal, 0.6)),
    ]


def rifle(rng: np.random.Generator) -> list[Part]:
    """An assault rifle or a carbine."""
    metal, wood = _pick(rng, STEEL), _pick(rng, GRIPS)
    end = rng.uniform(0.74, 0.82)
    bend = rng.uniform(-0.01, 0.07)
    parts = [
        _line([(end - 0.02, 0.035), (1.0, 0.035)], 0.028, metal),
        _fill([(0, 0.0), (0.28, 0.01), (0.28, 0.09), (0.1, 0.12), (0, 0.17)], wood),
        _fill([(0.27, -0.01), (0.56, -0.01), (0.56, 0.1), (0.27, 0.1)], metal),
        _fill([(0.55, 0.0), (end, 0.01), (end, 0.075), (0.55, 0.095)], wood),
        _fill([(0.31, 0.09), (0.38, 0.09), (0.35, 0.22), (0.28, 0.21)], wood),
        _fill([(0.45, 0.1), (0.53, 0.1), (0.55 + bend, 0.26), (0.47 + bend, 0.28)], _tone(metal, 0.85)),
        _line(_oval(0.41, 0.12, 0.035, 0.03), 0.014, metal),
        _fill([(0.9, 0.03), (0.92, -0.04), (0.94, 0.03)], metal),
        _line([(0.28, 0.01), (0.55, 0.01)], 0.012, _tone(metal, 1.6)),
    ]
    if rng.random() < 0.4:
        parts += [
            _box(0.33, -0.085, 0.55, -0.035, _tone(metal, 0.8)),
            _box(0.37, -0.04, 0.4, 0.0, metal),
            _box(0.48, -0.04, 0.51, 0.0, metal),
        ]
    return parts


def shotgun(rng: np.random.Generator) -> list[Part]:
    """A hunting gun: a wooden stock, a long barrel, no magazine."""
    metal, wood = _pick(rng, STEEL), _pick(rng, GRIPS[1:5])
    parts = [
        _line([(0.42, 0.02), (1.0, 0.02)], 0.032, metal),
        _line([(0.46, 0.055), (0.9, 0.055)], 0.026, _tone(metal, 0.8)),
        _fill([(0, 0.07), (0.24, 0.0), (0.33, 0.0), (0.33, 0.08), (0.26, 0.1), (0.02, 0.22)], wood),
        _fill([(0.31, -0.01), (0.48, 0.0), (0.48, 0.08), (0.31, 0.09)], metal),
        _fill([(0.55, 0.03), (0.74, 0.035), (0.74, 0.085), (0.55, 0.09)], wood),
        _line(_oval(0.36, 0.11, 0.04, 0.03), 0.014, metal),
        _line([(0.44, 0.012), (0.99, 0.012)], 0.008, _tone(metal, 1.7)),
    ]
    if rng.random() < 0.35:
        parts.append(_box(0.3, -0.075, 0.52, -0.03, _tone(metal, 0.7)))
    return parts


def submachine_gun(rng: np.random.Generator) -> list[Part]:
    metal, grip = _pick(rng, STEEL), _pick(rng, GRIPS)
    return [
        _line([(0.7, 0.08), (1.0, 0.08)], 0.05, _tone(metal, 0.8)),
        _line([(0.0, 0.06), (0.2, 0.06)], 0.025, metal),
        _line([(0.0, 0.03), (0.0, 0.2)], 0.035, metal),
        _fill([(0.18, 0.0), (0.76, 0.0), (0.76, 0.16), (0.18, 0.16)], metal),
        _fill([(0.26, 0.15), (0.36, 0.15), (0.31, 0.4), (0.2, 0.38)], grip),
        _fill([(0.5, 0.16), (0.6, 0.16), (0.6, 0.52), (0.5, 0.52)], _tone(metal, 0.85)),
        _line(_oval(0.42, 0.2, 0.06, 0.05), 0.018, metal),
        _line([(0.2, 0.03), (0.75, 0.03)], 0.018, _tone(metal, 1.6)),
        _box(0.68, -0.05, 0.71, 0.0, metal),
    ]


def drill(rng: np.random.Generator) -> list[Part]:
    """A cordless drill: the pistol's outline, with a chuck for a muzzle and a battery for a butt."""
    body, dark = _pick(rng, VIVID), _pick(rng, STEEL)
    return [
        _line([(0.85, 0.13), (1.05, 0.13)], 0.03, (150, 150, 150)),
        _fill([(0.7, 0.03), (0.88, 0.08), (0.88, 0.18), (0.7, 0.24)], dark),
        _fill([(0.02, 0.02), (0.66, 0.0), (0.72, 0.05), (0.72, 0.24), (0.04, 0.28)], body),
        _fill([(0.15, 0.26), (0.36, 0.26), (0.3, 0.6), (0.1, 0.6)], _tone(body, 0.8)),
        _fill([(0.0, 0.58), (0.42, 0.58), (0.42, 0.74), (0.0, 0.74)], dark),
        _fill([(0.36, 0.28), (0.41, 0.28), (0.4, 0.38), (0.35, 0.36)], dark),
        _line([(0.08, 0.1), (0.5, 0.1)], 0.04, _tone(body, 1.3)),
    ]


def hair_dryer(rng: np.random.Generator) -> list[Part]:
    body = _pick(rng, VIVID)
    return [
        _fill([(0.0, 0.02), (0.12, 0.0), (0.6, 0.04), (0.6, 0.3), (0.12, 0.34), (0.0, 0.3)], body),
        _fill([(0.58, 0.06), (0.8, 0.02), (0.8, 0.32), (0.58, 0.28)], _tone(body, 0.6)),
        _fill([(0.2, 0.3), (0.38, 0.3), (0.34, 0.78), (0.22, 0.78)], _tone(body, 0.9)),
        _line([(0.28, 0.78), (0.3, 0.9), (0.2, 1.0)], 0.03, (30, 30, 30)),
    ]


def hammer(rng: np.random.Generator) -> list[Part]:
    wood, steel = _pick(rng, GRIPS + VIVID[:4]), _pick(rng, STEEL)
    return [
        _fill([(0.0, 0.12), (0.85, 0.14), (0.85, 0.2), (0.0, 0.23)], wood),
        _fill([(0.82, 0.0), (0.96, 0.0), (0.96, 0.36), (0.82, 0.36)], steel),
        _fill([(0.82, 0.0), (0.96, 0.0), (1.0, -0.16), (0.92, -0.14)], _tone(steel, 1.2)),
    ]


def wrench(rng: np.random.Generator) -> list[Part]:
    steel = _pick(rng, STEEL[3:] + VIVID[:1])
    return [
        _fill([(0.1, 0.06), (0.8, 0.05), (0.8, 0.14), (0.1, 0.13)], steel),
        _fill(_oval(0.08, 0.095, 0.1, 0.09), steel),
        _fill([(0.76, 0.0), (0.92, -0.06), (1.0, 0.0), (0.9, 0.06), (0.9, 0.12), (1.0, 0.19), (0.92, 0.25)], steel),
        _line([(0.15, 0.095), (0.75, 0.095)], 0.02, _tone(steel, 1.4)),
    ]


def bottle(rng: np.random.Generator) -> list[Part]:
    glass = _pick(rng, VIVID)
    return [
        _fill([(0, 0), (0.6, 0), (0.76, 0.09), (0.95, 0.1), (0.95, 0.2), (0.76, 0.21), (0.6, 0.3), (0, 0.3)], glass),
        _box(0.94, 0.085, 1.0, 0.215, _tone(glass, 0.5)),
        _box(0.15, 0.0, 0.5, 0.3, (225, 228, 230)),
        _line([(0.04, 0.06), (0.6, 0.06)], 0.03, _tone(glass, 1.5)),
    ]


def umbrella(rng: np.random.Generator) -> list[Part]:
    cloth, dark = _pick(rng, VIVID + STEEL[:3]), _pick(rng, STEEL)
    return [
        _line([(0.0, 0.16), (0.0, 0.08), (0.05, 0.05), (0.25, 0.06)], 0.03, dark),
        _fill([(0.2, 0.04), (0.5, 0.0), (0.95, 0.04), (0.95, 0.08), (0.5, 0.13), (0.2, 0.08)], cloth),
        _line([(0.94, 0.06), (1.0, 0.06)], 0.018, (150, 150, 150)),
        _line([(0.24, 0.06), (0.9, 0.06)], 0.012, _tone(cloth, 0.6)),
    ]


def telephone(rng: np.random.Generator) -> list[Part]:
    case = _pick(rng, STEEL)
    screen = _tone(_pick(rng, VIVID), 1.1)
    return [
        _box(0.0, 0.0, 0.8, 0.4, case),
        _box(0.05, 0.03, 0.75, 0.37, screen if rng.random() < 0.6 else (18, 16, 16)),
        _line([(0.1, 0.07), (0.4, 0.07)], 0.02, (235, 235, 235)),
    ]


def bracket(rng: np.random.Generator) -> list[Part]:
    """An L-shaped piece of metal."""
    steel = _pick(rng, STEEL)
    wide, down = rng.uniform(0.1, 0.2), rng.uniform(0.4, 0.8)
    return [
        _fill([(0, 0), (0.9, 0), (0.9, wide), (wide, wide), (wide, down), (0, down)], steel),
        *(_fill(_oval(x, wide / 2, 0.03, 0.03), (15, 15, 15)) for x in (0.3, 0.55, 0.8)),
    ]


def torch(rng: np.random.Generator) -> list[Part]:
    body = _pick(rng, STEEL + VIVID[:3])
    return [
        _box(0.0, 0.05, 0.7, 0.2, body),
        _fill([(0.68, 0.05), (0.85, 0.0), (0.98, 0.0), (0.98, 0.25), (0.85, 0.25), (0.68, 0.2)], _tone(body, 0.8)),
        _box(0.97, 0.02, 1.0, 0.23, (200, 235, 245)),
        *(_line([(x, 0.06), (x, 0.19)], 0.012, _tone(body, 0.6)) for x in (0.1, 0.18, 0.26, 0.34)),
    ]


def scissors(rng: np.random.Generator) -> list[Part]:
    handle, steel = _pick(rng, VIVID), _pick(rng, STEEL[3:5])
    return [
        _fill([(0.35, 0.15), (1.0, 0.02), (0.4, 0.24)], steel),
        _fill([(0.35, 0.2), (1.0, 0.3), (0.4, 0.1)], _tone(steel, 0.9)),
        _line(_oval(0.16, 0.04, 0.15, 0.09), 0.05, handle),
        _line(_oval(0.16, 0.3, 0.15, 0.09), 0.05, handle),
    ]


Shape = Callable[[np.random.Generator], list[Part]]

HANDGUNS: tuple[Shape, ...] = (pistol, revolver)
LONG_GUNS: tuple[Shape, ...] = (rifle, shotgun, submachine_gun)
OTHERS: Mapping[str, Shape] = {
    "drill": drill,
    "hair dryer": hair_dryer,
    "hammer": hammer,
    "wrench": wrench,
    "bottle": bottle,
    "umbrella": umbrella,
    "telephone": telephone,
    "bracket": bracket,
    "torch": torch,
    "scissors": scissors,
}
