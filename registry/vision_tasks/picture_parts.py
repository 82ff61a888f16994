"""Parts that every model of pictures has, and its starter data if its folder draws some."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from registry.contract.parts import InferencePart, ShiftPart, load
from registry.core.media import Picture
from registry.vision import picture, shifts, statistics

if TYPE_CHECKING:
    from registry.contract.spec import ModelSpec


class PictureInference(InferencePart):
    """Reads a picture file, whole or not at all, and describes it."""

    PLAUSIBLE = statistics.PLAUSIBLE

    def decode(self, body: bytes, limit: int) -> Picture:
        return picture.decode(body, limit)

    def image_statistics(self, sample: Picture) -> dict[str, float]:
        return statistics.image_statistics(sample)


class PictureShifts(ShiftPart):
    """Some of `registry.vision.shifts`, the demo's first."""

    def __init__(self, kinds: Sequence[str] = ()) -> None:
        self.HOW = {kind: shifts.HOW[kind] for kind in kinds or shifts.HOW}

    def shift(self, body: bytes, how: str, severity: float, seed: int) -> bytes:
        return shifts.shift(body, how, severity, seed, self.HOW)


def starter_of(spec: ModelSpec) -> Any:
    """`make` of the model's `scenes.py`, a `registry.datasets.picture_set.Generator`; None where it has none."""
    module = f"registry.models.{spec.name}.scenes"
    return load(f"{module}:make") if find_spec(module) else None
