"""What happens to pictures of fruit in a shop or a packing line."""

from __future__ import annotations

from collections.abc import Mapping

from registry.vision import shifts

# The demo's first. "camera" is what fruit suffers from: colour is half of what tells it apart.
KINDS = ("camera", "night", "blur", "fog", "sensor-noise", "low-resolution", "jpeg", "glare")
HOW: Mapping[str, str] = {kind: shifts.HOW[kind] for kind in KINDS}


def shift(body: bytes, how: str, severity: float, seed: int) -> bytes:
    """As `registry.vision.shifts.shift`, for the kinds of `HOW`."""
    return shifts.shift(body, how, severity, seed, HOW)
