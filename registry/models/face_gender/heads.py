"""Heads by chance, for the starter data: what each looks like, how it is held and lit. `portraits.py` draws them.

What makes a drawn head "female" or "male" here is an arbitrary convention of this generator (see `Cues`): seven cues,
each of which says little alone. It exercises the platform and teaches nothing about people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[Any]
"""Floating-point numbers, one or three for each pixel."""

LABELS = ("female", "male")
SKIN_TONES = ("light", "medium", "dark")
LIGHTS = ("front", "side", "dim")
ACCESSORIES = ("none", "glasses", "sunglasses", "mask", "hand", "hat")
_ACCESSORY_SHARES = (0.66, 0.13, 0.05, 0.05, 0.04, 0.07)
# BGR in [0, 1].
_SKIN = {"light": (0.66, 0.76, 0.93), "medium": (0.42, 0.56, 0.78), "dark": (0.20, 0.29, 0.45)}
_HAIR = ((0.05, 0.05, 0.06), (0.08, 0.13, 0.22), (0.16, 0.28, 0.42), (0.40, 0.62, 0.78), (0.55, 0.56, 0.58))


@dataclass(frozen=True)
class Cues:
    """How the convention shows, each a number around -1 (female) or +1 (male) with a spread of 0.65: hair length, brow
    thickness, jaw width, lip colour, stubble, eye size, brow height."""

    hair: float
    brow: float
    jaw: float
    lips: float
    stubble: float
    eyes: float
    lift: float


@dataclass(frozen=True)
class Head:
    """One head: what it looks like, how it is held and lit.

    Attributes:
        yaw, pitch: of the head in radians; roll is applied when it is placed.
        light: direction (x, y, z) towards the lamp, unit length; `ambient` is the rest.
    """

    cues: Cues
    skin: Plane
    hair_colour: Plane
    cloth: Plane
    yaw: float
    pitch: float
    roll: float
    width: float
    smile: float
    light: Plane
    ambient: float
    accessory: str
    grain: int


def draw(rng: np.random.Generator, label: str, skin_tone: str, light: str) -> Head:
    """A random head with that label."""
    side = 1.0 if label == "male" else -1.0
    cues = Cues(*(float(np.clip(rng.normal(side, 0.65), -2.2, 2.2)) for _ in range(7)))
    tone = np.clip(np.asarray(_SKIN[skin_tone]) * rng.uniform(0.88, 1.1) + rng.normal(0, 0.015, 3), 0.05, 1)
    across = rng.uniform(-0.45, 0.45) if light != "side" else rng.choice((-1.0, 1.0)) * rng.uniform(0.7, 1.0)
    towards = np.asarray([across, rng.uniform(-0.7, -0.25), 1.0])
    return Head(
        cues=cues,
        skin=tone.astype(np.float32),
        hair_colour=np.asarray(_HAIR[int(rng.integers(len(_HAIR)))], np.float32) * np.float32(rng.uniform(0.8, 1.2)),
        cloth=rng.uniform(0.1, 0.8, 3).astype(np.float32),
        yaw=float(rng.uniform(-0.3, 0.3)),
        pitch=float(rng.uniform(-0.12, 0.12)),
        roll=float(rng.normal(0, 8)),
        width=float(rng.uniform(0.93, 1.06)),
        smile=float(rng.uniform(-0.2, 1.0)),
        light=(towards / np.linalg.norm(towards)).astype(np.float32),
        ambient=float(rng.uniform(0.5, 0.62) if light != "side" else rng.uniform(0.35, 0.45)),
        accessory=str(rng.choice(ACCESSORIES, p=_ACCESSORY_SHARES)),
        grain=int(rng.integers(2**31)),
    )
