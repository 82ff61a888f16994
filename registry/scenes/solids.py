"""Round things with light on them: their geometry and shading.

Everything is in a thing's own frame: x to the right, y down, about one unit from its centre to its edge, `phi` the
angle from the top (0) clockwise to the bottom (pi). Transcendental functions are taken in float64 and colours are
rounded once, at the end: another CPU's last bit then does not reach a pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from registry.core.media import ByteArray
from registry.scenes.colours import Colour, tone

Grid = NDArray[np.float64]
SHIFT = 4  # OpenCV draws in 1/16 pixel


@dataclass(frozen=True)
class Light:
    """A direction towards the light (unit length, z towards the viewer) and the share of light from everywhere."""

    x: float
    y: float
    z: float
    ambient: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Light:
        turn, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.55, 0.9)
        flat = float(np.sqrt(1 - height**2))
        return cls(flat * float(np.cos(turn)), flat * float(np.sin(turn)), height, rng.uniform(0.5, 0.7))

    def turned(self, angle: float) -> Light:
        """As seen in a frame that is turned by `angle` (radians, clockwise on the screen)."""
        c, s = float(np.cos(angle)), float(np.sin(angle))
        return Light(c * self.x + s * self.y, c * self.y - s * self.x, self.z, self.ambient)


@dataclass(frozen=True)
class Frame:
    """A pixel grid in a thing's frame: x, y float64 [S, S]; `radius` pixels make a unit."""

    x: Grid
    y: Grid
    radius: float
    angle: float
    squash: float
    light: Light

    @classmethod
    def of(cls, radius: float, angle: float, squash: float, light: Light, reach: float = 1.55) -> Frame:
        """`angle`: how far the thing is turned, radians clockwise; `squash`: how much narrower it is seen, e.g. 0.9."""
        half = int(np.ceil(radius * reach))
        line = np.arange(-half, half + 1) / radius
        across, down = np.meshgrid(line, line)
        c, s = np.cos(angle), np.sin(angle)
        return cls((c * across + s * down) / squash, c * down - s * across, radius, angle, squash, light.turned(angle))

    @property
    def pixel(self) -> float:
        """The edge of a pixel in units."""
        return 1 / self.radius

    def pixels(self, points: Sequence[tuple[float, float]]) -> NDArray[np.int32]:
        """Points of the thing's frame as OpenCV draws them: int32 [N, 2] (column, row) in 1/16 pixel."""
        x, y = np.array(points, dtype=np.float64).T
        c, s = np.cos(self.angle), np.sin(self.angle)
        x = x * self.squash
        middle = self.x.shape[0] // 2
        found = np.stack([c * x - s * y, s * x + c * y], axis=1) * self.radius + middle
        return np.rint(found * (1 << SHIFT)).astype(np.int32)

    def window(self, at: tuple[float, float], reach: float) -> tuple[tuple[slice, slice], Frame]:
        """The part of the grid within `reach` units of `at`."""
        column, row = self.pixels([at])[0] >> SHIFT
        half, side = int(np.ceil(reach * self.radius)) + 1, self.x.shape[0]
        part = (
            slice(max(0, row - half), min(side, row + half + 1)),
            slice(max(0, column - half), min(side, column + half + 1)),
        )
        return part, replace(self, x=self.x[part], y=self.y[part])


@dataclass
class Layer:
    """What is painted: colour float64 [S, S, 3] in [0, 255], BGR, and alpha float64 [S, S] in [0, 1]."""

    colour: Grid
    alpha: Grid

    @classmethod
    def empty(cls, frame: Frame) -> Layer:
        return cls(np.zeros((*frame.x.shape, 3)), np.zeros(frame.x.shape))

    def paint(self, other: Layer, part: tuple[slice, slice] = (slice(None), slice(None))) -> Layer:
        """Puts `other`, which covers `part`, on top of this one."""
        colour, alpha = self.colour[part], self.alpha[part]
        total = other.alpha + alpha * (1 - other.alpha)
        share = (other.alpha / np.maximum(total, 1e-9))[..., None]
        self.colour[part] = share * other.colour + (1 - share) * colour
        self.alpha[part] = total
        return self

    def dab(self, mask: ByteArray, colour: Colour, strength: float = 1.0, within: Solid | None = None) -> Layer:
        """Puts one colour on top where `mask` (uint8 [S, S], 255 is all) says, and a `within` body is."""
        x, y, width, height = cv2.boundingRect(mask)
        part = (slice(y, y + height), slice(x, x + width))
        alpha = mask[part].astype(np.float64) * (strength / 255)
        if within is not None:
            alpha = alpha * within.alpha[part]
        return self.paint(Layer(np.broadcast_to(np.array(colour), (*alpha.shape, 3)), alpha), part)


@dataclass(frozen=True)
class Solid:
    """A rounded body: `t` is 0 in the middle and 1 at its edge, `phi` the angle from the top, `normal` [S, S, 3]."""

    t: Grid
    phi: Grid
    normal: Grid
    alpha: Grid


def solid(frame: Frame, outline: Callable[[Grid], Grid], at: tuple[float, float] = (0.0, 0.0)) -> Solid:
    """The body whose edge is `outline(phi)` units from `at`, swollen like half an ellipsoid."""
    x, y = frame.x - at[0], frame.y - at[1]
    phi = np.arctan2(x, -y)
    edge = outline(phi)
    t = np.hypot(x, y) / edge
    inside = np.minimum(t, 1.0)
    depth = np.sqrt(1 - inside**2)
    shrink = np.where(t > 1, 1 / np.maximum(t, 1e-9), 1.0) / edge
    normal = np.stack([x * shrink, y * shrink, depth], axis=-1)
    return Solid(t, phi, normal, np.clip((1 - t) * edge / frame.pixel + 0.5, 0, 1))


def shade(
    body: Solid, albedo: Grid, light: Light, gloss: float = 0.3, tight: int = 4, bump: Grid | None = None
) -> Layer:
    """Lambert's law plus Blinn's highlight (1977) with the exponent 2 ** `tight`.

    `bump` float64 [S, S] is a height field, in pixels, that roughens the surface.
    """
    normal = body.normal
    if bump is not None:
        dy, dx = np.gradient(bump)
        normal = normal - np.stack([dx, dy, np.zeros_like(dx)], axis=-1)
        normal = normal / np.linalg.norm(normal, axis=-1, keepdims=True)
    lit = np.maximum(normal @ np.array([light.x, light.y, light.z]), 0)
    half = np.array([light.x, light.y, light.z + 1])
    shine = np.maximum(normal @ (half / np.linalg.norm(half)), 0)
    for _ in range(tight):
        shine = shine * shine
    colour = albedo * (light.ambient + (1.15 - light.ambient) * lit)[..., None] + 255 * gloss * shine[..., None]
    return Layer(np.clip(colour, 0, 255), body.alpha)


def cut(body: Solid, albedo: Grid, light: Light) -> Layer:
    """A flat face of that outline, turned to the viewer: lit evenly."""
    return Layer(np.clip(albedo * (light.ambient + (1.1 - light.ambient) * light.z), 0, 255), body.alpha)


def flat(frame: Frame, colour: Colour) -> Grid:
    """One colour everywhere, float64 [S, S, 3]."""
    return np.broadcast_to(np.array(colour, dtype=np.float64), (*frame.x.shape, 3))


def blend(a: Grid | Colour, b: Grid | Colour, share: Grid) -> Grid:
    """`a` where `share` is 0, `b` where it is 1."""
    w = np.clip(share, 0, 1)[..., None]
    return np.asarray(a, dtype=np.float64) * (1 - w) + np.asarray(b, dtype=np.float64) * w


def noise(rng: np.random.Generator, frame: Frame, cells: int) -> Grid:
    """Smooth noise in [-1, 1], float64 [S, S], of about `cells` bumps across."""
    raw = rng.integers(0, 256, (cells, cells), dtype=np.uint8)
    side = frame.x.shape[0]
    return cv2.resize(raw, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.float64) / 127.5 - 1


def egg(phi: Grid, across: float, stretch: float) -> Grid:
    """The outline of an ellipse with the half width `across`, `stretch` times as tall as wide."""
    return np.asarray(across / np.sqrt(np.sin(phi) ** 2 + (np.cos(phi) / stretch) ** 2))


def bell(phi: Grid, at: float, width: float) -> Grid:
    """A bell around the angle `at`, 1 in its middle."""
    gap = np.abs(phi - at)
    return np.exp(-((np.minimum(gap, 2 * np.pi - gap) / width) ** 2))


def _mask(frame: Frame) -> ByteArray:
    return np.zeros(frame.x.shape, dtype=np.uint8)


def stroke(layer: Layer, frame: Frame, points: Sequence[tuple[float, float]], width: float, colour: Colour) -> Layer:
    """A round line of `width` units through `points`, lighter on the side of the light."""
    thick = max(1, round(width * frame.radius))
    off = 0.2 * width
    for by, shift, share in ((0.75, 0.0, 1.0), (1.2, off, 0.5)):
        moved = [(x + shift * frame.light.x, y + shift * frame.light.y) for x, y in points]
        mask = _mask(frame)
        cv2.polylines(mask, [frame.pixels(moved)], False, 255, max(1, round(share * thick)), cv2.LINE_AA, SHIFT)
        layer.dab(mask, tone(colour, by))
    return layer


def leaf(
    layer: Layer, frame: Frame, root: tuple[float, float], angle: float, length: float, width: float, colour: Colour
) -> Layer:
    """A pointed leaf with a midrib, growing from `root` at `angle` from the top; `width` is half of it."""
    s, c = float(np.sin(angle)), float(np.cos(angle))

    def at(along: float, across: float) -> tuple[float, float]:
        return root[0] + along * length * s + across * width * c, root[1] - along * length * c + across * width * s

    steps = [n / 8 for n in range(9)]
    for side, by in ((-1, 0.85), (1, 1.1)):
        mask = _mask(frame)
        edge = [at(a, side * 4 * a * (1 - a)) for a in steps]
        cv2.fillPoly(mask, [frame.pixels([*edge, at(1, 0), at(0, 0)])], 255, cv2.LINE_AA, SHIFT)
        layer.dab(mask, tone(colour, by))
    mask = _mask(frame)
    cv2.polylines(mask, [frame.pixels([at(0, 0), at(0.92, 0)])], False, 255, 1, cv2.LINE_AA, SHIFT)
    return layer.dab(mask, tone(colour, 1.35), 0.7)


def spots(frame: Frame, places: Sequence[tuple[float, float]], radius: float, stretch: float = 1.0) -> ByteArray:
    """A mask of spots of `radius` units, `stretch` times as tall as wide."""
    mask = _mask(frame)
    scale = frame.radius * (1 << SHIFT)
    axes = (max(8, round(radius * frame.squash * scale)), max(8, round(radius * stretch * scale)))
    turn = round(float(np.degrees(frame.angle)))
    for column, row in frame.pixels(places):
        cv2.ellipse(mask, (int(column), int(row)), axes, turn, 0, 360, 255, -1, cv2.LINE_AA, SHIFT)
    return mask
