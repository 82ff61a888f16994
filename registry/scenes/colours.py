"""Colours of drawn things: BGR in 0..255."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Colour = tuple[float, float, float]

SKIN: tuple[Colour, ...] = ((120, 150, 205), (85, 120, 175), (60, 85, 130), (40, 58, 92), (150, 178, 225))
STEEL: tuple[Colour, ...] = ((38, 36, 35), (60, 57, 54), (25, 24, 24), (96, 92, 88), (150, 146, 140), (48, 54, 58))
GRIPS: tuple[Colour, ...] = ((30, 29, 28), (26, 44, 70), (38, 66, 104), (45, 50, 52), (60, 92, 120), (22, 22, 24))
"""Black plastic and wood."""
WOOD = GRIPS[1:5]
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


def one_of(rng: np.random.Generator, things: Sequence[T]) -> T:
    return things[int(rng.integers(len(things)))]


def pick(rng: np.random.Generator, colours: Sequence[Colour], gain: float = 1.25, brightest: float = 245) -> Colour:
    """One of the colours, 0.8 to `gain` times as bright."""
    return tone(one_of(rng, colours), float(rng.uniform(0.8, gain)), brightest)


def tone(colour: Colour, gain: float, brightest: float = 255) -> Colour:
    """The colour in less light (`gain` below 1) or in more."""
    blue, green, red = (float(v) for v in np.clip(np.array(colour) * gain, 0, brightest))
    return blue, green, red


def highlight(colour: Colour, gain: float) -> Colour:
    """The colour where light falls on it: `gain` times as bright, and seen on black, too."""
    blue, green, red = (float(v) for v in np.clip(np.array(colour) * gain + 6, 0, 255))
    return blue, green, red


def vary(rng: np.random.Generator, colour: Colour, by: float = 12) -> Colour:
    """A colour a little beside `colour`: each channel moved by a normal number with the deviation `by`."""
    blue, green, red = (float(np.clip(c + rng.normal(0, by), 0, 255)) for c in colour)
    return blue, green, red


def cloth(rng: np.random.Generator) -> Colour:
    """Of clothes, plastics and paint: every hue, seldom glaring."""
    hue, saturation, value = rng.integers(0, 180), rng.integers(30, 220), rng.integers(50, 235)
    blue, green, red = cv2.cvtColor(np.array([[[hue, saturation, value]]], np.uint8), cv2.COLOR_HSV2BGR)[0, 0]
    return float(blue), float(green), float(red)


def paint(rng: np.random.Generator, low: int = 30, high: int = 225, vivid: float = 0.35) -> NDArray[np.float32]:
    """A colour of a place, float32 [3]: a grey in [low, high] with a hue of up to `vivid` of it."""
    grey = rng.uniform(low, high)
    hue = rng.normal(0, 1, 3)
    return np.clip(grey * (1 + vivid * 0.5 * (hue - hue.mean())), 0, 255).astype(np.float32)
