"""What happens to pictures from cameras at doors, in streets and on phones."""

from __future__ import annotations

from collections.abc import Mapping

from registry.vision import shifts

# In the order of the damage that they do to a network trained on the starter data; the first is the demo's. JPEG damage
# alone does it none.
KINDS = ("fog", "glare", "night", "low-resolution", "sensor-noise", "camera", "blur")
HOW: Mapping[str, str] = {kind: shifts.HOW[kind] for kind in KINDS}


def shift(body: bytes, how: str, severity: float, seed: int) -> bytes:
    """As `registry.vision.shifts.shift`, for the kinds of `HOW`."""
    return shifts.shift(body, how, severity, seed, HOW)
