"""Places without objects: a surface or a room, with clutter and light.

Bit-identical for a seed: NumPy's Generator, integer drawing, and floats that are rounded to 8 bits at the end. Nothing
drawn here is an object of a class: a detector must learn to ignore it.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from registry.core.media import ByteArray
from registry.scenes.camera import Image, lay, rounded
from registry.scenes.colours import paint


def backdrop(rng: np.random.Generator, width: int, height: int) -> ByteArray:
    """A scene without objects: a surface or a room with clutter and light, uint8 [height, width, 3] BGR."""
    scene = SCENES[int(rng.integers(len(SCENES)))](rng, width, height)
    if rng.random() < 0.7:
        scene = _clutter(rng, scene)
    return rounded(_light(rng, scene))


def texture(rng: np.random.Generator, width: int, height: int, cells: int, octaves: int = 4) -> Image:
    """Smooth noise in about [-1, 1], float32 [height, width]: octaves, each twice as fine and half as strong."""
    total = np.zeros((height, width), dtype=np.float32)
    weight = 0.5
    for octave in range(octaves):
        across = min(width, max(2, cells << octave))
        down = min(height, max(2, round((cells << octave) * height / width)))
        knots = rng.integers(-128, 128, (down, across)).astype(np.float32) / np.float32(128)
        total += np.float32(weight) * cv2.resize(knots, (width, height), interpolation=cv2.INTER_CUBIC)
        weight /= 2
    return total


def _surface(rng: np.random.Generator, width: int, height: int) -> Image:
    """A table, a wall or a floor from above: one mottled colour."""
    rough = texture(rng, width, height, int(rng.integers(2, 9)), 5)[:, :, None]
    return paint(rng) + rough * paint(rng, 8, 60, 0.4)


def _gradient(rng: np.random.Generator, width: int, height: int) -> Image:
    """A studio backdrop or a sky."""
    turn = rng.uniform(0, 2 * np.pi)
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
    along = ((x * np.cos(turn) + y * np.sin(turn)) / 2 + 0.5)[:, :, None]
    soft = texture(rng, width, height, 2, 3)[:, :, None] * np.float32(rng.uniform(2, 14))
    return np.asarray(paint(rng) * (1 - along) + paint(rng) * along + soft, dtype=np.float32)


def _grain_of_wood(rng: np.random.Generator, width: int, height: int) -> Image:
    """Boards: rings stretched along one axis, with seams between."""
    along = texture(rng, width, height, 2, 2)
    fine = cv2.resize(texture(rng, max(2, width // 12), height, 3, 5), (width, height))
    rings = np.sin((along * 6 + fine * 3) * np.float32(rng.uniform(1.5, 4)))[:, :, None]
    base = np.array([50, 95, 145], dtype=np.float32) * np.float32(rng.uniform(0.5, 1.35))
    image = base + rings * np.float32(rng.uniform(5, 18)) + paint(rng, 0, 18)
    board = max(6, height // int(rng.integers(2, 7)))
    for top in range(int(rng.integers(board)), height, board):
        image[top : top + max(1, height // 160)] *= 0.55
    return image.transpose(1, 0, 2).copy() if width == height and rng.random() < 0.5 else image


def _tiles(rng: np.random.Generator, width: int, height: int) -> Image:
    """Tiles, bricks or paving in a running or a stacked bond; each stone differs a little."""
    edge = max(8, min(width, height) // int(rng.integers(3, 10)))
    long = edge * int(rng.integers(1, 4))
    image = np.tile(paint(rng, 60, 200, 0.2), (height, width, 1))
    stone, varied, running = paint(rng), rng.uniform(3, 20), bool(rng.integers(2))
    gap = max(1, edge // 14)
    for row, top in enumerate(range(-int(rng.integers(edge)), height, edge)):
        for left in range(-long // 2 * (row % 2 if running else 0) - int(long), width, long):
            colour = np.clip(stone + rng.normal(0, varied), 0, 255)
            cv2.rectangle(image, (left, top), (left + long - gap - 1, top + edge - gap - 1), colour.tolist(), -1)
    return image + texture(rng, width, height, 6, 4)[:, :, None] * np.float32(rng.uniform(4, 16))


def _room(rng: np.random.Generator, width: int, height: int) -> Image:
    """A wall, a floor and boxes for doors, windows, shelves and panels."""
    horizon = int(height * rng.uniform(0.45, 0.85))
    image = np.tile(paint(rng, 90, 235, 0.25), (height, width, 1))
    image[horizon:] = paint(rng, 40, 190, 0.35)
    for _ in range(int(rng.integers(2, 7))):
        wide, tall = (max(4, int(edge * rng.uniform(0.08, 0.35))) for edge in (width, height))
        left = int(rng.integers(-wide // 2, width))
        base = horizon + int(height * rng.uniform(-0.05, 0.12)) if rng.random() < 0.6 else int(rng.integers(horizon))
        colour = paint(rng)
        cv2.rectangle(image, (left, base - tall), (left + wide, base), colour.tolist(), -1)
        for shelf in range(int(rng.integers(0, 4))):
            y = base - tall * (shelf + 1) // 4
            cv2.line(image, (left, y), (left + wide, y), (colour * 0.6).tolist(), max(1, height // 120))
    depth = np.linspace(0.85, 1.1, height, dtype=np.float32)[:, None, None]
    return image * depth + texture(rng, width, height, 5, 4)[:, :, None] * np.float32(rng.uniform(3, 12))


def _outdoors(rng: np.random.Generator, width: int, height: int) -> Image:
    """Sky, a far line of trees or roofs, and ground."""
    horizon = int(height * rng.uniform(0.3, 0.6))
    image = np.tile(np.array([225, 200, 175], np.float32) * np.float32(rng.uniform(0.6, 1.05)), (height, width, 1))
    image += texture(rng, width, height, 3, 4)[:, :, None] * 22
    ragged = texture(rng, width, 2, int(rng.integers(3, 9)), 5)[0]
    top = horizon - height * (0.12 + 0.2 * ragged)
    rows = np.arange(height, dtype=np.float32)[:, None]
    image[rows >= top[None, :]] = paint(rng, 35, 110, 0.5)
    image[horizon:] = paint(rng, 60, 170, 0.45)
    leaves = texture(rng, width, height, 14, 4)[:, :, None] * np.float32(rng.uniform(10, 40))
    image[horizon // 2 :] += leaves[horizon // 2 :]
    return image


def _clutter(rng: np.random.Generator, image: Image) -> Image:
    """Things of no class: boxes, discs, cables and blots with soft shadows, some out of focus."""
    height, width = image.shape[:2]
    edge = min(width, height)
    for _ in range(int(rng.integers(2, 9))):
        mask = np.zeros((height, width), dtype=np.uint8)
        x, y = int(rng.integers(width)), int(rng.integers(height))
        size = max(3, int(edge * rng.uniform(0.03, 0.17)))
        kind = int(rng.integers(4))
        if kind == 0:
            other = max(3, int(size * rng.uniform(0.4, 2.2)))
            corners = cv2.boxPoints(((x, y), (size, other), float(rng.integers(180))))
            cv2.fillPoly(mask, [np.rint(corners).astype(np.int32)], 255)
        elif kind == 1:
            axes = (size // 2 + 1, max(2, int(size * rng.uniform(0.2, 0.6))))
            cv2.ellipse(mask, (x, y), axes, int(rng.integers(180)), 0, 360, 255, -1)
        elif kind == 2:
            knots = np.array([x, y]) + np.cumsum(rng.integers(-size - 2, size + 3, (5, 2)), axis=0)
            cv2.polylines(mask, [knots.astype(np.int32)], False, 255, max(1, size // 12))
        else:
            turns = np.linspace(0, 2 * np.pi, 9)[:-1]
            reach = size * rng.uniform(0.4, 0.9, 8)
            blot = np.stack([x + reach * np.cos(turns), y + reach * np.sin(turns)], axis=1)
            cv2.fillPoly(mask, [np.rint(blot).astype(np.int32)], 255)
        image = lay(image, mask, paint(rng), shadow=rng.uniform(0.0, 0.5), soft=rng.uniform(0.4, 2.0))
    return image


def _light(rng: np.random.Generator, image: Image) -> Image:
    """A lamp to one side, or even light."""
    height, width = image.shape[:2]
    if rng.random() < 0.35:
        return image
    x0, y0 = rng.uniform(-0.2, 1.2), rng.uniform(-0.3, 1.1)
    y, x = np.linspace(0, 1, height)[:, None] - y0, np.linspace(0, 1, width)[None, :] - x0
    near = 1 / (1 + rng.uniform(0.5, 2.0) * (x * x + y * y))
    gain = 0.75 + 0.5 * (near - near.min()) / max(float(np.ptp(near)), 1e-9)
    return np.asarray(image * gain[:, :, None].astype(np.float32), dtype=np.float32)


SCENES: tuple[Callable[[np.random.Generator, int, int], Image], ...] = (
    _surface,
    _gradient,
    _grain_of_wood,
    _tiles,
    _room,
    _outdoors,
)
