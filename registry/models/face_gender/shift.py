"""What happens to pictures of people."""

from __future__ import annotations

from collections.abc import Mapping

from registry.vision import shifts

# The demo's first. In the dark, fog and blur it is the detector that fails, which is not trained here.
KINDS = ("glare", "camera", "jpeg", "low-resolution", "sensor-noise", "night", "blur", "fog")
HOW: Mapping[str, str] = {kind: shifts.HOW[kind] for kind in KINDS}


def shift(body: bytes, how: str, severity: float, seed: int) -> bytes:
    """As `registry.vision.shifts.shift`, for the kinds of `HOW`."""
    return shifts.shift(body, how, severity, seed, HOW)
