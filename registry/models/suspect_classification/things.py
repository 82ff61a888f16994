"""The nine kinds of things, drawn schematically. Each function draws one with a `Pen`, varied by `rng`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from registry.models.suspect_classification import people
from registry.models.suspect_classification.pen import Colour, Pen, any_colour, dark, metal, near, shade, skin, wood

Draw = Callable[[np.random.Generator, Pen], None]


def _hand(rng: np.random.Generator, pen: Pen, x: float, y: float, size: float) -> None:
    """A fist around something at (x, y), with a sleeve."""
    tone, sleeve = skin(rng), any_colour(rng)
    towards = rng.uniform(0.3, 1.0)
    pen.bar((x, y), (x + size * towards * 1.6, y + size * 3.4), size * 1.1, size * 1.7, sleeve)
    pen.bar((x, y), (x + size * towards * 0.8, y + size * 1.7), size * 0.9, size * 1.1, tone)
    pen.disc(x, y, size * 0.85, size * 0.75, tone)
    for n in range(4):
        at = y - size * 0.5 + n * size * 0.33
        pen.bar((x - size * 0.85, at), (x + size * 0.1, at), size * 0.28, size * 0.3, shade(tone, 0.93))


def camera(rng: np.random.Generator, pen: Pen) -> None:
    if rng.random() < 0.25:
        _surveillance(rng, pen)
        return
    body = dark(rng) if rng.random() < 0.85 else any_colour(rng)
    high = rng.uniform(0.5, 0.66)
    if rng.random() < 0.6:  # the hump of a viewfinder
        pen.fill([(-0.3, -high), (-0.2, -high - 0.26), (0.2, -high - 0.26), (0.3, -high)], shade(body, 1.1))
    else:
        pen.box(0.45, -high - 0.12, 0.75, -high, shade(body, 0.8))
    pen.round_box(-0.95, -high, 0.95, high, body)
    if rng.random() < 0.5:  # two-tone, as many are
        pen.patch([(-0.92, -0.1), (0.92, -0.1), (0.92, high - 0.1), (-0.92, high - 0.1)], shade(body, 0.7))
    x, r = rng.uniform(-0.15, 0.2), rng.uniform(0.38, 0.5)
    pen.disc(x, 0.02, r, r, shade(metal(rng), rng.uniform(0.4, 1.0)))
    pen.disc(x, 0.02, r * 0.8, r * 0.8, (25, 22, 20))
    pen.disc(x, 0.02, r * 0.5, r * 0.5, near(rng, (95, 60, 45), 25))
    pen.disc(x - r * 0.2, -r * 0.2, r * 0.14, r * 0.14, (240, 235, 230))
    pen.box(-0.85, -high + 0.08, -0.58, -high + 0.24, (200, 220, 225))
    pen.disc(0.75, -high + 0.14, 0.07, 0.07, near(rng, (60, 60, 190), 30))
    if rng.random() < 0.25:
        _hand(rng, pen, 0.95, 0.25, 0.3)


def _surveillance(rng: np.random.Generator, pen: Pen) -> None:
    """On a wall or a ceiling: a bullet on its bracket, or a dome."""
    body = metal(rng) if rng.random() < 0.75 else dark(rng)
    if rng.random() < 0.35:
        pen.box(-0.75, -0.55, 0.75, -0.2, body)
        pen.fill([(0.62 * math.cos(a), -0.2 + 0.62 * math.sin(a)) for a in np.linspace(0, math.pi, 16)], (48, 44, 42))
        pen.disc(rng.uniform(-0.2, 0.2), 0.1, 0.17, 0.17, (15, 15, 15))
        return
    pen.bar((0.55, 0.1), (0.85, 0.75), 0.16, 0.16, shade(body, 0.8))
    pen.box(0.6, 0.68, 1.05, 0.88, shade(body, 0.7))
    pen.round_box(-0.85, -0.32, 0.75, 0.3, body)
    pen.fill([(-1.0, -0.42), (0.6, -0.42), (0.65, -0.26), (-0.95, -0.26)], shade(body, 1.12))
    pen.disc(-0.83, 0.0, 0.15, 0.29, (30, 28, 26))
    pen.disc(-0.86, 0.0, 0.08, 0.14, near(rng, (110, 70, 60), 20))


def weapon(rng: np.random.Generator, pen: Pen) -> None:
    (_rifle if rng.random() < 0.4 else _pistol)(rng, pen)


def _pistol(rng: np.random.Generator, pen: Pen) -> None:
    steel = metal(rng) if rng.random() < 0.22 else dark(rng)
    grip = wood(rng) if rng.random() < 0.3 else shade(steel, rng.uniform(0.7, 1.0))
    lean, long = rng.uniform(0.12, 0.3), rng.uniform(0.85, 1.0)
    pen.fill([(0.32, -0.2), (0.82, -0.2), (0.86 + lean, 0.82), (0.42 + lean, 0.86)], grip)
    pen.ring(0.16, 0.0, 0.2, 0.2, 0.06, shade(steel, 0.8))
    if rng.random() < 0.3:  # a revolver
        pen.bar((-long, -0.4), (0.2, -0.4), 0.17, 0.2, steel)
        pen.round_box(-0.05, -0.52, 0.42, -0.12, shade(steel, 0.85))
        pen.fill([(0.3, -0.5), (0.75, -0.45), (0.85, -0.2), (0.3, -0.15)], steel)
        pen.bar((0.66, -0.45), (0.84, -0.6), 0.1, 0.08, steel)
    else:
        pen.box(-long, -0.55, 0.85, -0.24, steel)
        pen.box(-long + 0.08, -0.26, 0.5, -0.12, shade(steel, 0.8))
        for n in range(4):
            pen.line([(0.55 + 0.07 * n, -0.5), (0.55 + 0.07 * n, -0.3)], 0.025, shade(steel, 0.6))
        pen.box(-long + 0.05, -0.62, -long + 0.13, -0.55, steel)
    pen.disc(-long, -0.4, 0.025, 0.06, (10, 10, 10))
    if rng.random() < 0.3:
        _hand(rng, pen, 0.66 + lean * 0.5, 0.3, 0.34)


def _rifle(rng: np.random.Generator, pen: Pen) -> None:
    steel = dark(rng)
    stock = wood(rng) if rng.random() < 0.5 else shade(steel, 1.15)
    pen.bar((-1.25, -0.1), (-0.2, -0.1), 0.07, 0.08, steel)
    pen.bar((-0.85, -0.07), (-0.2, -0.05), 0.17, 0.22, stock)
    pen.box(-0.25, -0.2, 0.45, 0.08, steel)
    pen.fill([(0.42, -0.18), (1.2, -0.05), (1.22, 0.3), (1.0, 0.3), (0.42, 0.08)], stock)
    pen.fill([(0.28, 0.05), (0.46, 0.05), (0.56, 0.42), (0.38, 0.44)], shade(stock, 0.85))
    if rng.random() < 0.75:
        bend = rng.uniform(0.05, 0.25)
        pen.fill([(-0.12, 0.06), (0.1, 0.06), (0.1 - bend, 0.58), (-0.12 - bend, 0.54)], shade(steel, 0.8))
    if rng.random() < 0.5:
        pen.bar((-0.15, -0.33), (0.4, -0.33), 0.13, 0.13, shade(steel, 0.7))
        pen.box(0.0, -0.28, 0.1, -0.18, steel)
    pen.bar((-1.15, -0.1), (-1.15, -0.26), 0.06, 0.03, steel)


def knife(rng: np.random.Generator, pen: Pen) -> None:
    blade, handle = metal(rng), (wood(rng), dark(rng), any_colour(rng))[int(rng.integers(3))]
    wide, long, kind = rng.uniform(0.2, 0.34), rng.uniform(0.75, 1.05), int(rng.integers(3))
    tip = {
        0: [(-long, -wide * 0.9), (-long + 0.3, wide * 0.75)],
        1: [(-long, 0.1), (-long + 0.5, wide)],
        2: [(-long + 0.2, -wide * 0.9), (-long - 0.05, wide * 0.3), (-long + 0.15, wide)],
    }
    edge = [(0.15, -wide), *((tip[kind]) if kind != 1 else [(-long + 0.45, -wide * 0.8), *tip[1]]), (0.15, wide * 0.8)]
    pen.fill(edge, blade)
    pen.patch(
        [(0.12, wide * 0.45), (-long + 0.5, wide * 0.55), (-long + 0.5, wide * 0.75), (0.12, wide * 0.72)],
        shade(blade, 1.15),
    )
    if rng.random() < 0.35:
        pen.box(0.1, -wide - 0.1, 0.2, wide + 0.1, shade(blade, 0.6))
    pen.fill([(0.15, -0.16), (0.95, -0.2), (1.05, 0.05), (0.95, 0.2), (0.15, 0.15)], handle)
    for n in range(int(rng.integers(0, 4))):
        pen.disc(0.35 + 0.2 * n, 0.0, 0.035, 0.035, shade(blade, 0.9))
    if rng.random() < 0.3:
        _hand(rng, pen, 0.6, 0.05, 0.33)


def baton(rng: np.random.Generator, pen: Pen) -> None:
    """Straight, telescopic, or with a side handle; black, wooden or coloured; as wide at the end as at the start."""
    colour = dark(rng) if rng.random() < 0.8 else (wood(rng) if rng.random() < 0.7 else any_colour(rng))
    thick = rng.uniform(0.13, 0.2)
    kind = int(rng.integers(3))
    if kind == 1:
        pen.bar((-1.2, 0), (-0.5, 0), thick * 0.45, thick * 0.45, metal(rng))
        pen.bar((-0.55, 0), (0.15, 0), thick * 0.7, thick * 0.7, shade(colour, 1.2))
        pen.disc(-1.2, 0, thick * 0.4, thick * 0.4, colour)
        pen.bar((0.1, 0), (1.2, 0), thick, thick, colour)
    else:
        pen.bar((-1.2, 0), (1.2, 0), thick, thick, colour)
        pen.disc(-1.2, 0, thick / 2, thick / 2, colour)
    pen.patch(
        [(-1.1, -thick * 0.3), (1.1, -thick * 0.3), (1.1, -thick * 0.15), (-1.1, -thick * 0.15)],
        shade(colour, 1.5 if kind != 1 else 1.1),
    )
    if kind == 2:
        pen.bar((0.5, 0), (0.5, 0.42), thick * 0.9, thick, colour)
        pen.disc(0.5, 0.44, thick * 0.65, thick * 0.5, colour)
    for n in range(int(rng.integers(3, 7))):
        x = 0.62 + 0.09 * n
        pen.line([(x, -thick / 2), (x + 0.03, thick / 2)], 0.03, shade(colour, 0.55))
    pen.disc(1.2, 0, thick * 0.6, thick * 0.62, shade(colour, 0.8))
    if rng.random() < 0.3:
        _hand(rng, pen, 0.9, 0.05, 0.3)


def drone(rng: np.random.Generator, pen: Pen) -> None:
    body = dark(rng) if rng.random() < 0.7 else metal(rng)
    blur = near(rng, (165, 165, 165), 40)
    if rng.random() < 0.45:  # from the side
        spread = rng.uniform(0.85, 1.0)
        for x in (-spread, -spread * 0.55, spread * 0.55, spread):
            up = -0.28 if abs(x) > 0.7 else -0.2
            pen.bar((0, 0), (x, up + 0.1), 0.13, 0.08, body)
            pen.box(x - 0.05, up - 0.05, x + 0.05, up + 0.14, shade(body, 0.8))
            pen.patch([(x - 0.33, up - 0.06), (x, up - 0.1), (x + 0.33, up - 0.06), (x, up - 0.02)], blur)
        pen.fill([(-0.36, -0.12), (0.36, -0.12), (0.28, 0.17), (-0.28, 0.17)], body)
        pen.line([(-0.25, 0.1), (-0.4, 0.48), (-0.55, 0.48)], 0.05, shade(body, 0.8))
        pen.line([(0.25, 0.1), (0.4, 0.48), (0.55, 0.48)], 0.05, shade(body, 0.8))
        pen.disc(0, 0.24, 0.12, 0.11, (20, 20, 20))
        return
    arms = 6 if rng.random() < 0.25 else 4
    tilt = rng.uniform(0.55, 1.0)
    for n in range(arms):
        a = 2 * math.pi * (n + 0.5) / arms
        x, y = 0.78 * math.cos(a), 0.78 * math.sin(a) * tilt
        pen.bar((0, 0), (x, y), 0.15, 0.08, body)
        r = 0.36 if arms == 4 else 0.28
        if rng.random() < 0.6:
            pen.ring(x, y, r, r * tilt, 0.035, blur)
        turn = rng.uniform(0, math.pi)
        dx, dy = r * math.cos(turn), r * math.sin(turn) * tilt
        pen.bar((x - dx, y - dy), (x + dx, y + dy), 0.07, 0.07, blur)
        pen.disc(x, y, 0.08, 0.08 * tilt, shade(body, 0.7))
    pen.round_box(-0.3, -0.26 * tilt, 0.3, 0.26 * tilt, body)
    pen.disc(0, 0.16 * tilt, 0.09, 0.08, near(rng, (70, 60, 60), 30))
    if rng.random() < 0.5:
        pen.disc(0.2, -0.15 * tilt, 0.04, 0.04, (60, 60, 230) if rng.random() < 0.5 else (60, 220, 60))


def grenade(rng: np.random.Generator, pen: Pen) -> None:
    shell = near(rng, ((50, 78, 70), (40, 60, 50), (55, 60, 62), (60, 90, 110))[int(rng.integers(4))], 12)
    if rng.random() < 0.3:  # a stun grenade
        pen.round_box(-0.42, -0.4, 0.42, 0.95, shell)
        for y in np.linspace(-0.15, 0.75, 4):
            for x in (-0.22, 0.0, 0.22):
                pen.disc(x, float(y), 0.07, 0.07, (18, 18, 18))
    else:
        tall = rng.uniform(0.62, 0.78)
        pen.disc(0, 0.28, 0.56, tall, shell)
        groove = shade(shell, 0.55)
        if rng.random() < 0.75:
            for x in (-0.28, 0.0, 0.28):
                h = tall * math.sqrt(1 - (x / 0.58) ** 2) * 0.95
                pen.line([(x, 0.28 - h), (x, 0.28 + h)], 0.045, groove)
            for y in (-0.12, 0.14, 0.4, 0.66):
                w = 0.56 * math.sqrt(max(0.0, 1 - ((y - 0.28) / tall) ** 2)) * 0.96
                pen.line([(-w, y), (w, y)], 0.045, groove)
        pen.patch([(-0.3, -0.02), (-0.2, -0.1), (-0.14, 0.2), (-0.3, 0.3)], shade(shell, 1.35))
    steel = near(rng, (120, 128, 130), 25)
    pen.box(-0.2, -0.68, 0.2, -0.35, steel)
    pen.line([(-0.12, -0.7), (0.38, -0.66), (0.62, -0.2), (0.66, 0.35)], 0.11, shade(steel, 0.85))
    pen.ring(-0.42, -0.6, 0.2, 0.2, 0.055, shade(steel, 1.25))
    if rng.random() < 0.25:
        _hand(rng, pen, 0.35, 0.6, 0.4)


def other(rng: np.random.Generator, pen: Pen) -> None:
    """Anything else, from a drawer, a street or the sky; now and then nothing but the place itself."""
    kind = int(rng.integers(len(_OTHERS) + 1))
    if kind < len(_OTHERS):
        _OTHERS[kind](rng, pen, any_colour(rng))
        if rng.random() < 0.15:
            _hand(rng, pen, 0.2, 0.55, 0.32)


def _bottle(rng: np.random.Generator, pen: Pen, colour: Colour) -> None:
    pen.fill(
        [
            (-0.3, -0.2),
            (-0.12, -0.55),
            (-0.12, -0.95),
            (0.12, -0.95),
            (0.12, -0.55),
            (0.3, -0.2),
            (0.3, 0.95),
            (-0.3, 0.95),
        ],
        colour,
    )
    pen.box(-0.3, 0.1, 0.3, 0.55, near(rng, (220, 225, 228), 20))
    pen.box(-0.14, -1.05, 0.14, -0.9, shade(colour, 0.6))


def _mug(rng: np.random.Generator, pen: Pen, colour: Colour) -> None:
    pen.ring(0.55, 0.05, 0.3, 0.32, 0.13, shade(colour, 0.85))
    pen.box(-0.55, -0.6, 0.5, 0.65, colour)
    pen.disc(-0.02, -0.6, 0.53, 0.15, shade(colour, 0.6))


def _phone(rng: np.random.Generator, pen: Pen, colour: Colour) -> None:
    pen.round_box(-0.48, -0.95, 0.48, 0.95, dark(rng))
    pen.box(-0.42, -0.8, 0.42, 0.78, colour)
    for y in (-0.55, -0.2, 0.15):
        for x in (-0.25, 0.0, 0.25):
            pen.disc(x, y, 0.08, 0.08, near(rng, colour, 60))


def _umbrella(rng: np.random.Generator, pen: Pen, colour: Colour) -> None:
    pen.line([(0, -0.5), (0, 0.8), (0.12, 0.92), (0.24, 0.8)], 0.06, dark(rng))
    arc = [(math.cos(a), 0.05 - 0.8 * math.sin(a)) for a in np.linspace(0, math.pi, 20)]
    pen.fill([*arc, (-0.5, -0.08), (0, 0.06), (0.5, -0.08)], colour)
    for x in (-0.5, 0.0, 0.5):
        pen.line([(0, -0.75), (x, -0.02)], 0.03, shade(colour, 0.7))


def _ball(rng: np.random.Generator, pen: Pen, colour: Colour) -> None:
    pen.disc(0, 0, 0.8, 0.8, colour)
    pen.line([(-0.78, 0), (-0.3, -0.2), (0.3, -0.2), (0.78, 0)], 0.07, shade(colour, 0.5))
    pen.line([(0, -0.8), (0.1, 0), (0, 0.8)], 0.07, shade(colour, 0.5))


def _bird(rng: np.random.Generator, pen: Pen, colour: Colour) -> None:
    tone, flap = dark(rng) if rng.random() < 0.5 else metal(rng), rng.uniform(-0.6, 0.3)
    pen.fill([(-0.1, 0), (-0.5, flap * 0.6 - 0.15), (-1.0, flap), (-0.5, flap * 0.4 + 0.12), (0, 0.15)], tone)
    pen.fill([(0.1, 0), (0.5, flap * 0.6 - 0.15), (1.0, flap), (0.5, flap * 0.4 + 0.12), (0, 0.15)], shade(tone, 0.85))
    pen.disc(0, 0.1, 0.17, 0.34, tone)
    pen.fill([(-0.05, -0.2), (0.05, -0.2), (0, -0.38)], near(rng, (50, 160, 220), 20))


def _balloon(rng: np.random.Generator, pen: Pen, colour: Colour) -> None:
    pen.line([(0, 0.4), (0.06, 0.7), (-0.05, 1.0)], 0.03, (90, 90, 90))
    pen.disc(0, -0.2, 0.55, 0.66, colour)
    pen.patch([(-0.3, -0.5), (-0.18, -0.6), (-0.22, -0.3), (-0.34, -0.25)], shade(colour, 1.5))


def _plant(rng: np.random.Generator, pen: Pen, colour: Colour) -> None:
    for a in np.linspace(-1.25, 1.25, int(rng.integers(5, 9))):
        x, y = 0.85 * math.sin(a), -0.95 * math.cos(a)
        pen.fill(
            [(0, 0.3), (x * 0.5 - 0.12, y * 0.5), (x, y), (x * 0.5 + 0.12, y * 0.55)], near(rng, (45, 120, 55), 30)
        )
    pen.fill([(-0.45, 0.25), (0.45, 0.25), (0.32, 0.95), (-0.32, 0.95)], colour)


def _chair(rng: np.random.Generator, pen: Pen, colour: Colour) -> None:
    for x in (-0.45, 0.45):
        pen.bar((x, 0.2), (x * 1.15, 0.98), 0.1, 0.08, shade(colour, 0.6))
    pen.fill([(-0.55, 0.1), (0.55, 0.1), (0.65, 0.32), (-0.65, 0.32)], colour)
    pen.round_box(-0.52, -0.95, 0.52, -0.15, shade(colour, 0.9))
    pen.box(-0.4, -0.2, -0.3, 0.12, shade(colour, 0.6))
    pen.box(0.3, -0.2, 0.4, 0.12, shade(colour, 0.6))


_OTHERS: tuple[Callable[[np.random.Generator, Pen, Colour], None], ...] = (
    _bottle, _mug, _phone, _umbrella, _ball, _bird, _balloon, _plant, _chair,
)  # fmt: skip

DRAW: Mapping[str, Draw] = {
    "camera": camera,
    "weapon": weapon,
    "other": other,
    "baton": baton,
    "knife": knife,
    "drone": drone,
    "yellow_vest": people.yellow_vest,
    "grenade": grenade,
    "person": people.person,
}
