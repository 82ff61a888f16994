"""What happens to pictures of people."""

from __future__ import annotations

from collections.abc import Mapping

from registry.vision import shifts

KINDS = ("night", "low-resolution", "blur", "sensor-noise", "jpeg", "fog", "camera", "glare")
HOW: Mapping[str, str] = {kind: shifts.HOW[kind] for kind in KINDS}


def shift(body: bytes, how: str, severity: float, seed: int) -> bytes:
    """As `registry.vision.shifts.shift`, for the kinds of `HOW`."""
    return shifts.shift(body, how, severity, seed, HOW)
