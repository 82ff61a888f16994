"""What happens to pictures from cameras at doors, in streets and on phones."""

from __future__ import annotations

from collections.abc import Mapping

from registry.vision import shifts

# The demo's first; in the order of the damage they do to the starter data's network.
KINDS = ("fog", "night", "blur", "sensor-noise", "low-resolution", "jpeg", "camera", "glare")
HOW: Mapping[str, str] = {kind: shifts.HOW[kind] for kind in KINDS}


def shift(body: bytes, how: str, severity: float, seed: int) -> bytes:
    """As `registry.vision.shifts.shift`, for the kinds of `HOW`."""
    return shifts.shift(body, how, severity, seed, HOW)
