"""The nine kinds of things, a function each: about from -1 to 1 along the longer side, the middle at the origin."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from registry.scenes import everyday, household
from registry.scenes.colours import SKIN, WOOD, Colour, cloth, highlight, one_of, pick, tone, vary
from registry.scenes.firearms import HANDGUNS, LONG_GUNS
from registry.scenes.sketch import Part, Thing, bar, box, fill, fitted, line, moved, oval, ring, round_box

WARNING: tuple[Colour, ...] = ((40, 235, 225), (30, 250, 190), (20, 120, 250))  # yellow, lime, orange
_dark = partial(pick, colours=((32, 32, 33), (50, 48, 48), (70, 68, 66)))
_metal = partial(pick, colours=((150, 150, 150), (182, 180, 178)))
_wood = partial(pick, colours=WOOD)


def _hand(rng: np.random.Generator, x: float, y: float, size: float) -> Iterator[Part]:
    """A fist around something at (x, y), with a sleeve."""
    palm, sleeve = pick(rng, SKIN), cloth(rng)
    towards = rng.uniform(0.3, 1.0)
    yield bar((x, y), (x + size * towards * 1.6, y + size * 3.4), size * 1.1, sleeve, size * 1.7)
    yield bar((x, y), (x + size * towards * 0.8, y + size * 1.7), size * 0.9, palm, size * 1.1)
    yield oval(x, y, size * 0.85, size * 0.75, palm)
    for n in range(4):
        at = y - size * 0.5 + n * size * 0.33
        yield bar((x - size * 0.85, at), (x + size * 0.1, at), size * 0.28, tone(palm, 0.9), size * 0.3)


def camera(rng: np.random.Generator) -> Iterator[Part]:
    if rng.random() < 0.25:
        yield from _surveillance(rng)
        return
    body = _dark(rng) if rng.random() < 0.85 else cloth(rng)
    high = rng.uniform(0.5, 0.66)
    if rng.random() < 0.6:  # the hump of a viewfinder
        yield fill([(-0.3, -high), (-0.2, -high - 0.26), (0.2, -high - 0.26), (0.3, -high)], tone(body, 1.1))
    else:
        yield box(0.45, -high - 0.12, 0.75, -high, tone(body, 0.8))
    yield round_box(-0.95, -high, 0.95, high, body)
    if rng.random() < 0.5:  # two-tone, as many are
        yield fill([(-0.92, -0.1), (0.92, -0.1), (0.92, high - 0.1), (-0.92, high - 0.1)], tone(body, 0.7))
    x, r = rng.uniform(-0.15, 0.2), rng.uniform(0.38, 0.5)
    yield oval(x, 0.02, r, r, tone(_metal(rng), rng.uniform(0.4, 1.0)))
    yield oval(x, 0.02, r * 0.8, r * 0.8, (25, 22, 20))
    yield oval(x, 0.02, r * 0.5, r * 0.5, vary(rng, (95, 60, 45), 12))
    yield oval(x - r * 0.2, -r * 0.2, r * 0.14, r * 0.14, (240, 235, 230))
    yield box(-0.85, -high + 0.08, -0.58, -high + 0.24, (200, 220, 225))
    yield oval(0.75, -high + 0.14, 0.07, 0.07, vary(rng, (60, 60, 190), 15))
    if rng.random() < 0.25:
        yield from _hand(rng, 0.95, 0.25, 0.3)


def _surveillance(rng: np.random.Generator) -> Iterator[Part]:
    """On a wall or a ceiling: a bullet on its bracket, or a dome."""
    body = _metal(rng) if rng.random() < 0.75 else _dark(rng)
    if rng.random() < 0.35:
        yield box(-0.75, -0.55, 0.75, -0.2, body)
        yield oval(0, -0.2, 0.62, 0.62, (48, 44, 42), 0, 0.5)
        yield oval(rng.uniform(-0.2, 0.2), 0.1, 0.17, 0.17, (15, 15, 15))
        return
    yield bar((0.55, 0.1), (0.85, 0.75), 0.16, tone(body, 0.8))
    yield box(0.6, 0.68, 1.05, 0.88, tone(body, 0.7))
    yield round_box(-0.85, -0.32, 0.75, 0.3, body)
    yield fill([(-1.0, -0.42), (0.6, -0.42), (0.65, -0.26), (-0.95, -0.26)], tone(body, 1.12))
    yield oval(-0.83, 0.0, 0.15, 0.29, (30, 28, 26))
    yield oval(-0.86, 0.0, 0.08, 0.14, vary(rng, (110, 70, 60), 10))


def weapon(rng: np.random.Generator) -> Iterator[Part]:
    """A long gun or a handgun, the latter often in a hand."""
    if rng.random() < 0.4:
        yield from fitted(one_of(rng, LONG_GUNS)(rng))
        return
    yield from fitted(one_of(rng, HANDGUNS)(rng))
    if rng.random() < 0.3:
        yield from _hand(rng, -0.62, 0.2, 0.3)


def knife(rng: np.random.Generator) -> Iterator[Part]:
    """Pointed below or above, or with a broad blade; the tip lies at the left."""
    blade, handle = _metal(rng), one_of(rng, (_wood(rng), _dark(rng), cloth(rng)))
    wide, long = rng.uniform(0.2, 0.34), rng.uniform(0.75, 1.05)
    tips = (
        [(-long, -wide * 0.9), (-long + 0.3, wide * 0.75)],
        [(-long + 0.45, -wide * 0.8), (-long, 0.1), (-long + 0.5, wide)],
        [(-long + 0.2, -wide * 0.9), (-long - 0.05, wide * 0.3), (-long + 0.15, wide)],
    )
    yield fill([(0.15, -wide), *one_of(rng, tips), (0.15, wide * 0.8)], blade)
    yield bar((0.12, wide * 0.58), (-long + 0.5, wide * 0.65), wide * 0.2, highlight(blade, 1.15))
    if rng.random() < 0.35:
        yield box(0.1, -wide - 0.1, 0.2, wide + 0.1, tone(blade, 0.6))
    yield fill([(0.15, -0.16), (0.95, -0.2), (1.05, 0.05), (0.95, 0.2), (0.15, 0.15)], handle)
    for n in range(int(rng.integers(0, 4))):
        yield oval(0.35 + 0.2 * n, 0.0, 0.035, 0.035, tone(blade, 0.9))
    if rng.random() < 0.3:
        yield from _hand(rng, 0.6, 0.05, 0.33)


def baton(rng: np.random.Generator) -> Iterator[Part]:
    """Straight, telescopic, or with a side handle; black, wooden or coloured; as wide at the end as at the start."""
    colour = _dark(rng) if rng.random() < 0.8 else (_wood(rng) if rng.random() < 0.7 else cloth(rng))
    thick = rng.uniform(0.13, 0.2)
    kind = int(rng.integers(3))
    if kind == 1:
        yield bar((-1.2, 0), (-0.5, 0), thick * 0.45, _metal(rng))
        yield bar((-0.55, 0), (0.15, 0), thick * 0.7, tone(colour, 1.2))
        yield oval(-1.2, 0, thick * 0.4, thick * 0.4, colour)
        yield bar((0.1, 0), (1.2, 0), thick, colour)
    else:
        yield bar((-1.2, 0), (1.2, 0), thick, colour)
        yield oval(-1.2, 0, thick / 2, thick / 2, colour)
    yield fill(
        [(-1.1, -thick * 0.3), (1.1, -thick * 0.3), (1.1, -thick * 0.15), (-1.1, -thick * 0.15)],
        tone(colour, 1.5 if kind != 1 else 1.1),
    )
    if kind == 2:
        yield bar((0.5, 0), (0.5, 0.42), thick * 0.9, colour, thick)
        yield oval(0.5, 0.44, thick * 0.65, thick * 0.5, colour)
    for n in range(int(rng.integers(3, 7))):
        x = 0.62 + 0.09 * n
        yield line([(x, -thick / 2), (x + 0.03, thick / 2)], 0.03, tone(colour, 0.55))
    yield oval(1.2, 0, thick * 0.6, thick * 0.62, tone(colour, 0.8))
    if rng.random() < 0.3:
        yield from _hand(rng, 0.9, 0.05, 0.3)


def drone(rng: np.random.Generator) -> Iterator[Part]:
    body = _dark(rng) if rng.random() < 0.7 else _metal(rng)
    blur = vary(rng, (165, 165, 165), 20)
    if rng.random() < 0.45:  # from the side
        spread = rng.uniform(0.85, 1.0)
        for x in (-spread, -spread * 0.55, spread * 0.55, spread):
            up = -0.28 if abs(x) > 0.7 else -0.2
            yield bar((0, 0), (x, up + 0.1), 0.13, body, 0.08)
            yield box(x - 0.05, up - 0.05, x + 0.05, up + 0.14, tone(body, 0.8))
            yield fill([(x - 0.33, up - 0.06), (x, up - 0.1), (x + 0.33, up - 0.06), (x, up - 0.02)], blur)
        yield fill([(-0.36, -0.12), (0.36, -0.12), (0.28, 0.17), (-0.28, 0.17)], body)
        yield line([(-0.25, 0.1), (-0.4, 0.48), (-0.55, 0.48)], 0.05, tone(body, 0.8))
        yield line([(0.25, 0.1), (0.4, 0.48), (0.55, 0.48)], 0.05, tone(body, 0.8))
        yield oval(0, 0.24, 0.12, 0.11, (20, 20, 20))
        return
    arms = 6 if rng.random() < 0.25 else 4
    tilt = rng.uniform(0.55, 1.0)
    for n in range(arms):
        a = 2 * math.pi * (n + 0.5) / arms
        x, y = 0.78 * math.cos(a), 0.78 * math.sin(a) * tilt
        yield bar((0, 0), (x, y), 0.15, body, 0.08)
        r = 0.36 if arms == 4 else 0.28
        if rng.random() < 0.6:
            yield ring(x, y, r, r * tilt, 0.035, blur)
        turn = rng.uniform(0, math.pi)
        dx, dy = r * math.cos(turn), r * math.sin(turn) * tilt
        yield bar((x - dx, y - dy), (x + dx, y + dy), 0.07, blur)
        yield oval(x, y, 0.08, 0.08 * tilt, tone(body, 0.7))
    yield round_box(-0.3, -0.26 * tilt, 0.3, 0.26 * tilt, body)
    yield oval(0, 0.16 * tilt, 0.09, 0.08, vary(rng, (70, 60, 60), 15))
    if rng.random() < 0.5:
        yield oval(0.2, -0.15 * tilt, 0.04, 0.04, (60, 60, 230) if rng.random() < 0.5 else (60, 220, 60))


def grenade(rng: np.random.Generator) -> Iterator[Part]:
    shell = vary(rng, one_of(rng, ((50, 78, 70), (40, 60, 50), (55, 60, 62), (60, 90, 110))), 6)
    if rng.random() < 0.3:  # a stun grenade
        yield round_box(-0.42, -0.4, 0.42, 0.95, shell)
        for y in np.linspace(-0.15, 0.75, 4):
            for x in (-0.22, 0.0, 0.22):
                yield oval(x, float(y), 0.07, 0.07, (18, 18, 18))
    else:
        tall = rng.uniform(0.62, 0.78)
        yield oval(0, 0.28, 0.56, tall, shell)
        groove = tone(shell, 0.55)
        if rng.random() < 0.75:
            for x in (-0.28, 0.0, 0.28):
                h = tall * math.sqrt(1 - (x / 0.58) ** 2) * 0.95
                yield line([(x, 0.28 - h), (x, 0.28 + h)], 0.045, groove)
            for y in (-0.12, 0.14, 0.4, 0.66):
                w = 0.56 * math.sqrt(max(0.0, 1 - ((y - 0.28) / tall) ** 2)) * 0.96
                yield line([(-w, y), (w, y)], 0.045, groove)
        yield fill([(-0.3, -0.02), (-0.2, -0.1), (-0.14, 0.2), (-0.3, 0.3)], tone(shell, 1.35))
    steel = vary(rng, (120, 128, 130), 12)
    yield box(-0.2, -0.68, 0.2, -0.35, steel)
    yield line([(-0.12, -0.7), (0.38, -0.66), (0.62, -0.2), (0.66, 0.35)], 0.11, tone(steel, 0.85))
    yield ring(-0.42, -0.6, 0.2, 0.2, 0.055, tone(steel, 1.25))
    if rng.random() < 0.25:
        yield from _hand(rng, 0.35, 0.6, 0.4)


def other(rng: np.random.Generator) -> Iterator[Part]:
    """Anything else, from a drawer, a street or the sky; now and then nothing but the place itself."""
    kind = int(rng.integers(len(OTHERS) + 1))
    if kind < len(OTHERS):
        yield from fitted(OTHERS[kind](rng))
        if rng.random() < 0.15:
            yield from _hand(rng, 0.2, 0.55, 0.32)


def person(rng: np.random.Generator) -> list[Part]:
    """Without a vest. One in eight wears yellow or orange all the same: colour alone does not tell."""
    shirt = pick(rng, WARNING) if rng.random() < 0.12 else cloth(rng)
    return _standing(rng, [*everyday.person(rng, shirt), *_helmet(rng, 0.1)])


def yellow_vest(rng: np.random.Generator) -> list[Part]:
    """Yellow, lime or orange over other sleeves, open in front, with reflecting stripes; often under a helmet."""
    return _standing(rng, [*everyday.person(rng, cloth(rng)), *_vest(rng), *_helmet(rng, 0.5)])


def _standing(rng: np.random.Generator, parts: Sequence[Part]) -> list[Part]:
    """From head to foot, or from the hips up, larger, with a face."""
    if rng.random() < 0.6:
        return fitted(parts)
    x, ink = everyday.MIDDLE, (30, 30, 30)
    face = [
        oval(x - 0.025, 0.085, 0.008, 0.006, ink),
        oval(x + 0.025, 0.085, 0.008, 0.006, ink),
        bar((x - 0.02, 0.132), (x + 0.02, 0.132), 0.009, (60, 60, 130)),
    ]
    return moved(fitted([*parts, *face]), 1.55, (0, 0.55))


def _vest(rng: np.random.Generator) -> Iterator[Part]:
    x, colour, grey = everyday.MIDDLE, pick(rng, WARNING), vary(rng, (205, 208, 208))
    opening = rng.uniform(0.01, 0.04)
    for side in (-1, 1):
        yield fill([(x + side * opening, 0.27), (x + side * 0.05, 0.185), (x + side * 0.135, 0.19),
                    (x + side * 0.11, 0.53), (x + side * opening, 0.53)], colour)  # fmt: skip
        yield bar((x + side * 0.085, 0.2), (x + side * 0.075, 0.52), 0.03, grey)
    for y in (0.34, 0.44)[: int(rng.integers(1, 3))]:
        yield bar((x - 0.125, y), (x + 0.125, y), 0.034, grey)


def _helmet(rng: np.random.Generator, share: float) -> list[Part]:
    """On this share of heads."""
    if rng.random() >= share:
        return []
    x, shell = everyday.MIDDLE, vary(rng, one_of(rng, ((40, 200, 235), (225, 225, 225))))
    return [oval(x, 0.07, 0.08, 0.09, shell, 0.5, 1.0), bar((x - 0.1, 0.07), (x + 0.1, 0.07), 0.02, shell)]


OTHERS: tuple[Thing, ...] = (
    everyday.car, everyday.traffic_light, everyday.stop_sign, everyday.clock, everyday.bottle, everyday.apple,
    everyday.banana, household.umbrella, household.telephone, household.hair_dryer, household.scissors,
)  # fmt: skip

DRAW: Mapping[str, Thing] = {
    "camera": camera,
    "weapon": weapon,
    "other": other,
    "baton": baton,
    "knife": knife,
    "drone": drone,
    "yellow_vest": yellow_vest,
    "grenade": grenade,
    "person": person,
}
