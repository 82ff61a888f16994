"""How an embedding is stored: little-endian float16 bytes, a quarter of float64's room.

Drift tests work on distances between samples, which are far coarser than float16's three digits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from registry.core.media import FloatArray

_LARGEST = float(np.finfo(np.float16).max)


def pack(values: Sequence[float] | FloatArray) -> bytes:
    """float [D] -> bytes. Values beyond float16's range are clipped to it."""
    return np.clip(np.asarray(values, dtype=np.float32), -_LARGEST, _LARGEST).astype("<f2").tobytes()


def unpack(raw: bytes) -> FloatArray:
    """Bytes -> float32 [D]; D is 0 when there was no embedding."""
    return np.frombuffer(raw, dtype="<f2").astype(np.float32)
