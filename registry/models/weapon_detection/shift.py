"""What happens to the pictures of a surveillance camera."""

from __future__ import annotations

from collections.abc import Mapping

from registry.vision import shifts

# The demo's first: a camera that saw well by day and is still there at night.
KINDS = ("night", "fog", "blur", "sensor-noise", "low-resolution", "jpeg", "camera", "glare")
HOW: Mapping[str, str] = {kind: shifts.HOW[kind] for kind in KINDS}


def shift(body: bytes, how: str, severity: float, seed: int) -> bytes:
    """As `registry.vision.shifts.shift`, for the kinds of `HOW`."""
    return shifts.shift(body, how, severity, seed, HOW)
