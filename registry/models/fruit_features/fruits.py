"""Fifteen kinds of fruit, each drawn in many looks: colour, shape, texture, stem, cut or whole.

Colours overlap on purpose (a red apple, a plum and a cherry; a lemon, a mango and a ripe banana; an orange and a
peach): what tells them apart is shape and texture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from registry.scenes.colours import Colour, vary
from registry.scenes.solids import Frame, Layer, bell, blend, cut, egg, flat, leaf, noise, shade, solid, spots, stroke

Rng = np.random.Generator
BROWN, GREEN, LEAF = (40.0, 70.0, 105.0), (60.0, 150.0, 105.0), (50.0, 125.0, 60.0)


def _freckles(rng: Rng, count: int, low: float = -0.8, high: float = 0.8) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in rng.uniform(low, high, (count, 2))]


def _stem(rng: Rng, layer: Layer, frame: Frame, foot: float, length: float, width: float = 0.09) -> Layer:
    lean = rng.uniform(-0.35, 0.35)
    points = [(0.0, foot), (0.3 * lean * length, foot - 0.55 * length), (lean * length, foot - length)]
    return stroke(layer, frame, points, width, vary(rng, BROWN))


def apple(rng: Rng, frame: Frame) -> Layer:
    body = solid(frame, lambda p: 1 - 0.2 * bell(p, 0, 0.42) - 0.09 * bell(p, np.pi, 0.3) + 0.05 * np.sin(p) ** 2)
    kind = rng.integers(2)
    base: Colour = ((40, 40, 185), (70, 190, 150))[kind]
    second: Colour = ((60, 95, 205), (90, 205, 190))[kind]
    streaks = np.sin(9 * body.phi + 2 * noise(rng, frame, 6)) * 0.5 + 0.5
    share = 0.5 * streaks * (0.3 + body.t) + 0.35 * noise(rng, frame, 4)
    albedo = blend(vary(rng, base), vary(rng, second), share)
    dimple = np.exp(-((frame.x / 0.32) ** 2) - (((frame.y + 0.78) / 0.16) ** 2))
    out = shade(body, albedo * (1 - 0.55 * dimple)[..., None], frame.light, 0.45, 5)
    out.dab(spots(frame, _freckles(rng, 16), 0.022), (160, 205, 225), 0.6, body)
    _stem(rng, out, frame, -0.72, rng.uniform(0.35, 0.6))
    if rng.random() < 0.35:
        leaf(out, frame, (0.0, -0.9), rng.uniform(0.7, 1.5), 0.6, 0.17, vary(rng, LEAF))
    return out


def _round(rng: Rng, frame: Frame, colour: Colour, rough: float) -> Layer:
    """A ball with pores."""
    body = solid(frame, lambda p: 1 - 0.03 * np.cos(2 * p))
    albedo = blend(vary(rng, colour, 8), vary(rng, colour, 20), 0.5 + 0.5 * noise(rng, frame, 4))
    return shade(body, albedo, frame.light, 0.28, 4, bump=rough * noise(rng, frame, 42))


def orange(rng: Rng, frame: Frame) -> Layer:
    if rng.random() < 0.25:
        return _cut_citrus(rng, frame, (20, 135, 245), (50, 165, 250))
    out = _round(rng, frame, (15, 130, 240), 0.13)
    x, y = rng.uniform(-0.5, 0.5, 2)
    out.dab(spots(frame, [(x, y)], 0.13), (40, 150, 190))
    return out.dab(spots(frame, [(x, y)], 0.07), vary(rng, (60, 105, 90)))


def _cut_citrus(rng: Rng, frame: Frame, rind: Colour, flesh: Colour, stretch: float = 0.0) -> Layer:
    """Half a citrus fruit, seen from the cut: rind, white pith, wedges."""
    body = solid(frame, lambda p: 1 + stretch * np.cos(2 * p))
    count = int(rng.integers(9, 12))
    wedge = np.abs(((body.phi + rng.uniform(0, 1)) * count / (2 * np.pi)) % 1 - 0.5) * 2
    wall = (wedge > 1 - 0.07 / np.maximum(body.t, 0.12)) | (body.t > 0.86) | (body.t < 0.1)
    grain = 1 + 0.12 * noise(rng, frame, 30)
    albedo = blend(flat(frame, vary(rng, flesh, 8)) * grain[..., None], (205, 232, 245), 0.9 * wall.astype(np.float64))
    albedo = blend(albedo, vary(rng, rind, 8), (body.t > 0.93).astype(np.float64))
    return cut(body, albedo, frame.light)


def _lemon_like(rng: Rng, frame: Frame, colour: Colour, second: Colour, long: float, tip: float) -> Layer:
    body = solid(frame, lambda p: egg(p, 0.78, long) + tip * (bell(p, 0, 0.2) + 0.8 * bell(p, np.pi, 0.2)))
    share = 0.25 + 0.5 * noise(rng, frame, 3) + 0.4 * (body.t > 0.9)
    albedo = blend(vary(rng, colour, 8), vary(rng, second, 8), share)
    out = shade(body, albedo, frame.light, 0.3, 4, bump=0.1 * noise(rng, frame, 34))
    return out.dab(spots(frame, [(0.0, -0.78 * long - 0.4 * tip)], 0.09), vary(rng, (60, 110, 105)))


def lemon(rng: Rng, frame: Frame) -> Layer:
    if rng.random() < 0.2:
        return _cut_citrus(rng, frame, (40, 210, 245), (120, 230, 245))
    return _lemon_like(rng, frame, (35, 205, 240), (60, 215, 215), rng.uniform(1.3, 1.5), rng.uniform(0.12, 0.2))


def lime(rng: Rng, frame: Frame) -> Layer:
    if rng.random() < 0.2:
        return _cut_citrus(rng, frame, (40, 140, 80), (110, 205, 170))
    second = (50, 170, 160) if rng.random() < 0.4 else (35, 110, 50)
    return _lemon_like(rng, frame, (40, 140, 75), second, rng.uniform(1.08, 1.25), rng.uniform(0.06, 0.12))


def peach(rng: Rng, frame: Frame) -> Layer:
    body = solid(frame, lambda p: 1 - 0.12 * bell(p, 0, 0.3) + 0.05 * bell(p, np.pi, 0.3))
    blush = 0.5 + 0.9 * (frame.x * rng.uniform(-1, 1) + frame.y * rng.uniform(-1, 1)) + 0.4 * noise(rng, frame, 5)
    albedo = blend(vary(rng, (95, 175, 245)), vary(rng, (75, 85, 215)), blush)
    bend = rng.uniform(-0.5, 0.5)
    seam = np.exp(-(((frame.x - bend * (1 - frame.y**2)) / 0.06) ** 2)) * (frame.y < 0.75)
    fuzz = 1 + 0.06 * noise(rng, frame, 40) + 0.22 * body.t**4  # down is bright against the light
    out = shade(body, albedo * ((1 - 0.35 * seam) * fuzz)[..., None], frame.light, 0.03, 3)
    if rng.random() < 0.4:
        leaf(out, frame, (0.0, -0.86), rng.uniform(-1.5, 1.5), 1.0, 0.16, vary(rng, LEAF))
    return out


def pear(rng: Rng, frame: Frame) -> Layer:
    neck = rng.uniform(0.5, 0.7)
    body = solid(frame, lambda p: 0.82 + neck * bell(p, 0, 0.42) - 0.04 * bell(p, np.pi, 0.3), at=(0.0, 0.3))
    colour: Colour = ((70, 190, 180), (60, 200, 215), (70, 125, 165))[rng.integers(3)]
    albedo = blend(vary(rng, colour), vary(rng, (70, 150, 170)), 0.4 * body.t**2 + 0.4 * noise(rng, frame, 5))
    out = shade(body, albedo, frame.light, 0.2, 4)
    out.dab(spots(frame, _freckles(rng, 40, -0.8, 1.0), 0.02), (50, 95, 120), 0.7, body)
    return _stem(rng, out, frame, -0.48 - neck, rng.uniform(0.3, 0.5), 0.08)


def plum(rng: Rng, frame: Frame) -> Layer:
    long = rng.uniform(1.05, 1.3)
    body = solid(frame, lambda p: egg(p, 0.85, long) - 0.06 * bell(p, 0, 0.25))
    base: Colour = ((85, 35, 75), (75, 30, 110), (105, 45, 60))[rng.integers(3)]
    bloom = 0.25 + 0.4 * noise(rng, frame, 6)  # the wax that a finger wipes off
    albedo = blend(vary(rng, base, 8), (185, 140, 145), bloom)
    bend = rng.uniform(-0.55, 0.55)
    seam = np.exp(-(((frame.x - bend * (1 - frame.y**2)) / 0.05) ** 2))
    out = shade(body, albedo * (1 - 0.45 * seam)[..., None], frame.light, 0.25, 4)
    return _stem(rng, out, frame, -0.8 * long, rng.uniform(0.15, 0.3), 0.07)


def mango(rng: Rng, frame: Frame) -> Layer:
    skew = rng.choice([-1, 1])
    body = solid(frame, lambda p: egg(p, 0.8, 1.45) + 0.13 * bell(p, skew * 2.5, 0.6) - 0.1 * bell(p, -skew * 2.3, 0.5))
    across = frame.y * 0.7 + skew * 0.6 * frame.x + 0.3 * noise(rng, frame, 4)
    ripe = blend(vary(rng, (55, 165, 235)), vary(rng, (60, 75, 205)), across)
    albedo = blend(ripe, vary(rng, (65, 145, 105)), -0.4 - 1.3 * across + rng.uniform(-0.5, 0.5))
    out = shade(body, albedo, frame.light, 0.33, 4)
    out.dab(spots(frame, _freckles(rng, 30, -1, 1), 0.018), (90, 190, 225), 0.5, body)
    return out.dab(spots(frame, [(0.0, -1.1)], 0.08), vary(rng, BROWN))


def banana(rng: Rng, frame: Frame) -> Layer:
    """One to three fingers: each a bow of `radius`, thick in the middle."""
    skin = vary(rng, ((50, 205, 235), (75, 200, 200), (55, 185, 225))[rng.integers(3)], 8)
    radius, ripe = rng.uniform(1.1, 1.5), rng.random() < 0.5
    freckled = noise(rng, frame, 36) > 0.62
    out = Layer.empty(frame)
    for n in range(int(rng.integers(1, 4))):
        x, y = frame.x + 0.14 * n, frame.y - radius + 0.35 - 0.27 * n
        phi, off = np.arctan2(x, -y), np.hypot(x, y) - radius
        reach = 1.35 / radius
        along = np.clip(np.abs(phi) / reach, 0, 1)
        thick = 0.27 * np.sqrt(np.clip(1 - along**5, 0, 1)) + 0.03
        side = np.clip(off / thick, -1, 1)
        alpha = np.clip((thick - np.abs(off)) / frame.pixel + 0.5, 0, 1) * (np.abs(phi) < reach)
        normal = side * (x * frame.light.x + y * frame.light.y) / np.maximum(np.hypot(x, y), 1e-9)
        lit = normal + np.sqrt(1 - side**2) * frame.light.z
        ridge = 1 - 0.13 * np.exp(-(((side - 0.25) / 0.09) ** 2)) - 0.1 * np.exp(-(((side + 0.4) / 0.08) ** 2))
        albedo = blend(flat(frame, skin), (50, 85, 100), np.clip((along - 0.86) * 9, 0, 1))
        if ripe:
            albedo = blend(albedo, (45, 80, 115), 0.75 * freckled.astype(np.float64))
        light = (frame.light.ambient + (1.1 - frame.light.ambient) * np.maximum(lit, 0)) * ridge
        out.paint(Layer(np.clip(albedo * light[..., None], 0, 255), alpha))
    return out


def _ball(
    rng: Rng, layer: Layer, frame: Frame, at: tuple[float, float], radius: float, colour: Colour, gloss: float
) -> None:
    part, near = frame.window(at, radius)
    body = solid(near, lambda p: np.full(p.shape, radius), at)
    layer.paint(shade(body, flat(near, vary(rng, colour, 10)), frame.light, gloss, 5), part)


def cherry(rng: Rng, frame: Frame) -> Layer:
    colour: Colour = ((40, 25, 165), (30, 15, 105), (60, 60, 205))[rng.integers(3)]
    knot = (rng.uniform(-0.2, 0.2), -1.3)
    out = Layer.empty(frame)
    for side in (-1, 1) if rng.random() < 0.75 else (int(rng.choice([-1, 1])),):
        at = (side * rng.uniform(0.48, 0.58), rng.uniform(0.3, 0.6))
        _ball(rng, out, frame, at, rng.uniform(0.46, 0.54), colour, 0.65)
        foot = (at[0], at[1] - 0.36)
        middle = ((foot[0] * 1.1 + knot[0]) / 2, (foot[1] + knot[1]) / 2)
        stroke(out, frame, [foot, middle, knot], 0.06, vary(rng, (55, 120, 105)))
    if rng.random() < 0.4:
        leaf(out, frame, knot, rng.uniform(1.3, 2.2), 0.8, 0.2, vary(rng, LEAF))
    return out


def grape(rng: Rng, frame: Frame) -> Layer:
    """A bunch: rows of berries that narrow downwards."""
    colour: Colour = ((95, 35, 70), (95, 195, 170), (75, 45, 125))[rng.integers(3)]
    radius = rng.uniform(0.24, 0.3)
    places = []
    for row in range(5):
        count = max(1, round(4 - 0.8 * row))
        places += [((c - (count - 1) / 2) * 1.5 * radius, -0.75 + 1.45 * row * radius) for c in range(count)]
    out = stroke(
        Layer.empty(frame), frame, [(0.0, -0.7), (rng.uniform(-0.2, 0.2), -1.35)], 0.09, vary(rng, (60, 115, 110))
    )
    for x, y in (places[n] for n in rng.permutation(len(places))):
        at = (x + rng.normal(0, 0.05), y + rng.normal(0, 0.05))
        out.dab(spots(frame, [at], radius * 1.13), (25, 30, 25), 0.35)  # the shadow between berries
        _ball(rng, out, frame, at, radius * rng.uniform(0.9, 1.1), colour, 0.4)
    return out


def kiwi(rng: Rng, frame: Frame) -> Layer:
    long = rng.uniform(1.1, 1.25)
    body = solid(frame, lambda p: egg(p, 0.85, long))
    hair = blend(vary(rng, (45, 85, 120)), (75, 120, 150), 0.5 + 0.6 * noise(rng, frame, 40))
    if rng.random() < 0.4:  # whole: brown and hairy
        out = shade(body, hair, frame.light, 0.04, 3, bump=0.12 * noise(rng, frame, 46))
        return out.dab(spots(frame, [(0.0, -0.8 * long)], 0.1), (35, 55, 70))
    rays = 0.5 + 0.5 * np.cos(22 * body.phi)
    flesh = blend(vary(rng, (60, 175, 125), 8), (110, 215, 180), 0.6 * rays * (body.t > 0.3))
    flesh = blend(flesh, (195, 235, 225), np.clip((0.3 - body.t) * 12, 0, 1))
    flesh = blend(flesh, hair, (body.t > 0.94).astype(np.float64))
    out = cut(body, flesh, frame.light)
    turns = np.arange(26) * 2 * np.pi / 26 + rng.uniform(-0.06, 0.06, 26)
    away = rng.uniform(0.36, 0.5, 26)
    places = [
        (float(a * 0.85 * np.sin(p)), float(a * 0.85 * long * np.cos(p))) for a, p in zip(away, turns, strict=True)
    ]
    return out.dab(spots(frame, places, 0.038, 1.5), (25, 30, 35))


def pineapple(rng: Rng, frame: Frame) -> Layer:
    body = solid(frame, lambda p: egg(p, 0.62, 1.42), at=(0.0, 0.5))
    bulge = 1 / np.sqrt(np.maximum(1 - np.minimum(np.abs(frame.x) / 0.72, 0.95) ** 2, 0.08))
    one, two = 7 * (frame.x * bulge + frame.y), 7 * (frame.x * bulge - frame.y)
    scale = np.abs(np.sin(one) * np.sin(two))
    colour: Colour = ((50, 145, 200), (55, 125, 150), (40, 120, 190))[rng.integers(3)]
    albedo = blend((35, 65, 95), vary(rng, colour), 1.7 * scale)
    albedo = blend(albedo, (60, 95, 100), (scale > 0.93).astype(np.float64))
    out = shade(body, albedo, frame.light, 0.1, 3, bump=0.12 * scale)
    crown = vary(rng, (70, 130, 75))
    for turn in (*np.linspace(-1.15, 1.15, 7), *np.linspace(-0.6, 0.6, 5), 0.0):
        root = (0.25 * float(np.sin(turn)), -0.3)
        leaf(out, frame, root, float(turn) + rng.normal(0, 0.08), rng.uniform(0.85, 1.15), 0.12, vary(rng, crown, 8))
    return out


def strawberry(rng: Rng, frame: Frame) -> Layer:
    point = rng.uniform(0.2, 0.45)
    body = solid(frame, lambda p: 0.82 + point * bell(p, np.pi, 0.5) - 0.1 * bell(p, 0, 0.5) + 0.06 * np.abs(np.sin(p)))
    albedo = blend(vary(rng, (40, 35, 200)), vary(rng, (50, 60, 225)), 0.5 * noise(rng, frame, 5))
    if rng.random() < 0.3:
        albedo = blend(albedo, (150, 195, 225), np.clip(-0.2 - frame.y, 0, 0.6) * 1.3)  # not ripe at the top
    step = 0.21
    rows = [
        (x + step / 2 * (n % 2), y)
        for n, y in enumerate(np.arange(-0.7, 1.2, step))
        for x in np.arange(-0.9, 0.9, step)
    ]
    places = [(x + rng.normal(0, 0.015), y + rng.normal(0, 0.015)) for x, y in rows]
    out = shade(body, albedo, frame.light, 0.4, 4)
    out.dab(spots(frame, places, 0.05, 1.3), (20, 15, 110), 0.6, body)
    out.dab(spots(frame, places, 0.03, 1.5), (105, 205, 235), 1.0, body)
    green = vary(rng, (55, 140, 70))
    for turn in np.linspace(-2.2, 2.2, 7):
        bent = float(turn) + rng.normal(0, 0.1)
        leaf(out, frame, (0.0, -0.7), bent, rng.uniform(0.4, 0.6), 0.1, vary(rng, green, 8))
    return stroke(out, frame, [(0.0, -0.7), (rng.uniform(-0.2, 0.2), -1.1)], 0.07, green)


def watermelon(rng: Rng, frame: Frame) -> Layer:
    if rng.random() < 0.5:  # whole
        body = solid(frame, lambda p: 1 + 0.12 * np.cos(2 * p))
        bend = np.sqrt(np.maximum(1 - np.minimum(np.abs(frame.y) / 1.15, 0.98) ** 2, 0.03))
        waves = np.cos(9 * np.arcsin(np.clip(frame.x / (0.92 * bend), -1, 1)) + 1.3 * noise(rng, frame, 9))
        albedo = blend(
            vary(rng, (85, 165, 115)), vary(rng, (40, 75, 35), 6), 0.5 + 1.6 * (waves - rng.uniform(-0.1, 0.3))
        )
        return shade(body, albedo, frame.light, 0.28, 4)
    full = rng.random() < 0.4
    body = solid(frame, lambda p: np.full(p.shape, 1.12), at=(0.0, 0.0 if full else -0.45))
    albedo = blend(vary(rng, (75, 65, 220), 8), (95, 105, 235), 0.6 * noise(rng, frame, 12))
    albedo = blend(albedo, (200, 235, 225), np.clip((body.t - 0.82) * 16, 0, 1))
    albedo = blend(albedo, vary(rng, (50, 120, 60), 8), np.clip((body.t - 0.9) * 24, 0, 1))
    if not full:
        body = replace(body, alpha=body.alpha * np.clip((frame.y + 0.45) / frame.pixel + 0.5, 0, 1))
    turns = rng.uniform(-np.pi, np.pi, 18) if full else rng.uniform(-1.3, 1.3, 12)
    reach = rng.uniform(0.35, 0.75, len(turns))
    middle = 0.0 if full else -0.4
    places = [(float(d * np.sin(t)), float(middle + d * np.cos(t))) for d, t in zip(reach, turns, strict=True)]
    return cut(body, albedo, frame.light).dab(spots(frame, places, 0.05, 1.6), (25, 25, 30), 1.0, body)


FRUITS: Mapping[str, Callable[[Rng, Frame], Layer]] = {
    draw.__name__: draw
    for draw in (
        apple, banana, cherry, grape, kiwi, lemon, lime, mango, orange, peach, pear, pineapple, plum, strawberry,
        watermelon,
    )
}  # fmt: skip
