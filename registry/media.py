"""The currency types that cross package boundaries. Arrays are NumPy; frameworks never appear here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
ByteArray = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Volume:
    """A scan as it was stored, in the file's own voxel order.

    Attributes:
        voxels: float32 [X, Y, Z], finite; a 2-D scan has Z == 1 and `ndim` 2. Intensities after the
            header's slope and intercept.
        affine: float64 [4, 4], voxel index to millimetres (RAS+).
        spacing: voxel edge in millimetres, one per axis of `voxels`.
        ndim: dimensions of the stored image, 2 or 3.
        header: the stored NIfTI header, opaque; a mask is written with it.
    """

    voxels: FloatArray
    affine: NDArray[np.float64]
    spacing: tuple[float, float, float]
    ndim: int
    header: Any = None

    def __post_init__(self) -> None:
        if self.voxels.ndim != 3 or self.affine.shape != (4, 4):
            raise ValueError(f"voxels {self.voxels.shape} must be [X, Y, Z] and affine {self.affine.shape} [4, 4]")

    @property
    def voxel_mm3(self) -> float:
        """Volume of one voxel in cubic millimetres."""
        x, y, z = self.spacing
        return x * y * z


class Sample(Protocol):
    """A decoded input; each model has its own type (`Volume` for scans)."""


class Result(Protocol):
    """What a model says of one sample; each model has its own type."""

    def to_json(self) -> dict[str, Any]:
        """The answer for a program: plain numbers, strings, lists; units in the key names."""

    def statistics(self) -> dict[str, float]:
        """Prediction statistics, finite; the drift monitor compares their distributions."""


@dataclass(frozen=True)
class Case:
    """One labelled example of a data set.

    Attributes:
        id: unique within the data set.
        split: `train` or `val`.
        origin: `starter`, `imported` or the stream it came from; evaluation reports one slice per origin.
        input: the file a user would upload.
        truth: the label: a file, or the class name for models whose label is a word.
        attributes: what slices are cut by, e.g. {"dimensions": "2-D"}.
    """

    id: str
    split: str
    origin: str
    input: Path
    truth: Path | str
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A sample, ready for the network.

    Attributes:
        batch: float32 [N, C, H, W]; N is 1 for a picture and the number of slices for a volume.
        context: what `postprocess` needs to find the way back; opaque to everyone else.
    """

    batch: FloatArray
    context: Any = None


@dataclass(frozen=True, eq=False)
class Prediction:
    """Everything that one run of a bundle on one input gives.

    Attributes:
        image_statistics: finite numbers describing the input (brightness, noise, ...).
        prediction_statistics: finite numbers describing the answer.
        embedding: float32 [D], the network's pooled features, averaged over slices or frames.
        seconds: time spent, by step: decode, preprocess, network, postprocess.
    """

    sample: Any
    result: Result
    image_statistics: dict[str, float]
    prediction_statistics: dict[str, float]
    embedding: FloatArray
    seconds: dict[str, float]
