"""Types that cross package boundaries. Arrays are NumPy's; no framework's types appear here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
ByteArray = NDArray[np.uint8]

OnProgress = Callable[[int, int], None]
"""Called during the work with the numbers of finished and of all frames. An exception from it ends the work."""

MAX_CASE_PIXELS = 100_000_000
MAX_CASE_VOXELS = 512_000_000
"""Largest picture and largest scan of a data set. An import and a data check refuse larger ones undecoded.
For callers of a service `Settings.max_voxels` is the limit."""

Parameters = Mapping[str, Any]
"""One section of params.yaml, e.g. `skin_segmentation.train`."""


@dataclass(frozen=True, eq=False)
class Volume:
    """A scan as stored, in the file's own voxel order.

    Attributes:
        voxels: float32 [X, Y, Z], finite; a 2-D scan has Z == 1 and `ndim` 2. Intensities after the
            header's slope and intercept.
        affine: float64 [4, 4], voxel index to millimetres (RAS+).
        spacing: edges of a voxel in millimetres, one per axis of `voxels`.
        ndim: dimensions of the stored image, 2 or 3.
        header: the stored NIfTI header, opaque; masks are written with it.
        notes: for the answer: what was assumed or corrected about its position in space.
    """

    voxels: FloatArray
    affine: NDArray[np.float64]
    spacing: tuple[float, float, float]
    ndim: int
    header: Any = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.voxels.ndim != 3 or self.affine.shape != (4, 4):
            raise ValueError(f"voxels {self.voxels.shape} must be [X, Y, Z] and affine {self.affine.shape} [4, 4]")

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel in mm^3: in a sheared scan (tilted gantry) less than the product of its edges."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as a person sees it.

    Attributes:
        pixels: uint8 [H, W, 3], BGR, upright (the EXIF orientation is applied), contiguous.
        format: of the file: `JPEG`, `PNG`, ...
        notes: for the answer: what was done to it, e.g. `first of 12 frames`, `transparency over white`, ...
    """

    pixels: ByteArray
    format: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.shape[2] != 3 or self.pixels.dtype != np.uint8:
            raise ValueError(f"pixels {self.pixels.shape} {self.pixels.dtype} must be uint8 [H, W, 3]")

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])


@dataclass(frozen=True, eq=False)
class Clip:
    """An uploaded video that can be played. Its frames are decoded later, one by one.

    Attributes:
        body: the file's bytes.
        width, height: of a frame in pixels, upright (the display matrix is applied).
        rotation: degrees clockwise by which a player turns the stored frames, after mirroring: 0, 90, 180 or 270.
        frames: how many the file holds.
        fps: average frames per second.
        seconds: from the first frame to the end of the last.
        audio: whether there is a sound track.
        format: of the file: `MP4`, `Matroska`, ...
        notes: for the answer: what is wrong with it, or was done to it.
        mirrored: whether a player mirrors the stored frames left to right.
        start: the file's time, in seconds, at which the clip begins, even if its first frames cannot be decoded; None
            if the file has no times.
    """

    body: bytes
    width: int
    height: int
    rotation: int
    frames: int
    fps: float
    seconds: float
    audio: bool
    format: str = ""
    notes: tuple[str, ...] = ()
    mirrored: bool = False
    start: float | None = None


class Result(Protocol):
    """A model's answer to one sample; each model has its own type."""

    def to_json(self) -> dict[str, Any]:
        """The answer for programs: numbers, strings and lists, with units in the names of keys."""

    def statistics(self) -> dict[str, float]:
        """Finite prediction statistics; the drift monitor compares their distributions."""


@dataclass(frozen=True)
class Case:
    """One labelled example of a data set.

    Attributes:
        id: unique within the data set.
        split: one of `registry.cases.splits.SPLITS`: `train`, `val` or `test`.
        origin: `starter`, `imported`, or the stream it came from. Evaluation reports a slice for each origin.
        input: the file, as a user would upload it.
        truth: the label: a file, or a class name.
        attributes: values to make slices by, e.g. {"dimensions": "2-D"}.
        group: cases of one group, e.g. a patient, stay in one split; "" for no group.
    """

    id: str
    split: str
    origin: str
    input: Path
    truth: Path | str
    attributes: Mapping[str, str] = field(default_factory=dict)
    group: str = ""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A sample, ready for the network.

    Attributes:
        batch: float32 [N, C, H, W]; N is 1 for a picture and the number of slices for a volume.
        context: what `postprocess` needs to map results back to the sample; opaque to others.
    """

    batch: FloatArray
    context: Any = None


@dataclass(frozen=True, eq=False)
class Prediction:
    """Everything that a bundle computes for one input.

    Attributes:
        image_statistics: finite numbers about the input: brightness, noise, ...
        prediction_statistics: finite numbers about the answer.
        embedding: float32 [D], the network's pooled features, averaged over slices or frames.
        seconds: time of each step: decode, preprocess, network, postprocess.
        prepared: the network's input, for an explanation; None for a clip, or if it was not kept.
    """

    sample: Any
    result: Result
    image_statistics: dict[str, float]
    prediction_statistics: dict[str, float]
    embedding: FloatArray
    seconds: dict[str, float]
    prepared: Prepared | None = None
