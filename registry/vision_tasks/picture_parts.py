"""Parts that every model of pictures has, a data set with boxes, and starter data if the model's folder draws some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from registry.contract.parts import DataPart, InferencePart, ShiftPart, load
from registry.core.media import Parameters, Picture, Prepared
from registry.vision import picture, shifts, statistics
from registry.vision.picture import Letterbox, to_input

if TYPE_CHECKING:
    from registry.contract.spec import ModelSpec


class PictureInference(InferencePart):
    """Reads a picture file, whole or not at all, and describes it."""

    PLAUSIBLE = statistics.PLAUSIBLE

    def decode(self, body: bytes, limit: int) -> Picture:
        return picture.decode(body, limit)

    def image_statistics(self, sample: Picture) -> dict[str, float]:
        return statistics.image_statistics(sample)


@dataclass(frozen=True)
class Fitted:
    """How the picture lies in the network's square, and what the answer adds (`Prepared.context`)."""

    letterbox: Letterbox
    extras: Mapping[str, Any]


class WholePictureInference(PictureInference):
    """The whole picture is what the network sees."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)

    def preprocess(self, sample: Picture, constants: Parameters) -> Prepared:
        """The whole picture, letterboxed: float32 [1, 3, S, S], RGB in [0, 1], with S = `constants["image_size"]`.

        `constants["size_mb"]`, where there is one, is the served network's size, and goes into the answer.
        """
        letterbox = Letterbox.of(sample.width, sample.height, int(constants["image_size"]))
        extras: dict[str, Any] = {}
        if "size_mb" in constants:
            extras["model_size_mb"] = float(constants["size_mb"])
        if sample.notes:
            extras["notes"] = list(sample.notes)
        return Prepared(to_input(letterbox.fit(sample.pixels))[None], Fitted(letterbox, extras))


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


def box_data(spec: ModelSpec) -> DataPart:
    """Pictures with boxes of the model's classes."""
    return load("registry.datasets.layouts:BoxSet")(spec.name, spec.classes, starter_of(spec))  # type: ignore[no-any-return]
