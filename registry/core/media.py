"""The currency types that cross package boundaries. Arrays are NumPy; frameworks never appear here."""

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
"""Called as work goes on, with how many frames are done and how many there are. What it raises ends the work."""

MAX_CASE_PIXELS = 100_000_000
MAX_CASE_VOXELS = 512_000_000
"""Largest picture and largest scan of a data set. An import and a data check refuse larger ones undecoded.
For callers of a service `Settings.max_voxels` is the limit."""

Parameters = Mapping[str, Any]
"""One section of params.yaml, e.g. `skin_segmentation.train`."""


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
        notes: what had to be decided or put right about its place in space, for the answer.
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
        """Volume of one voxel in cubic millimetres; less than the product of its edges where the scan is sheared, as
        by a tilted gantry."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as a person sees it.

    Attributes:
        pixels: uint8 [H, W, 3], BGR, upright (the EXIF orientation is applied), contiguous.
        format: what the file was: `JPEG`, `PNG`, ...
        notes: what had to be done to it, for the answer: `first of 12 frames`, `transparency over white`, ...
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
    """A video as it was uploaded, opened and found playable; its frames are decoded while it is worked on.

    Attributes:
        body: the file's bytes.
        width, height: of a frame in pixels, upright (the display matrix is applied).
        rotation: degrees clockwise that a player turns the stored frames by, after mirroring: 0, 90, 180 or 270.
        frames: how many there are in the file (counted, without decoding them).
        fps: average frames per second.
        seconds: from the first frame to the end of the last.
        audio: whether there is a sound track.
        format: what the file is: `MP4`, `Matroska`, ...
        notes: what was found wrong with it, or had to be done, for the answer.
        mirrored: whether a player mirrors the stored frames left to right.
        start: the time in the file, in seconds, at which the clip begins, whether or not its first frames can be
            decoded; None where the file does not say.
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


class Sample(Protocol):
    """A decoded input; each model has its own type (`Volume` for scans, `Picture`, `Clip`)."""


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
        split: one of `registry.cases.splits.SPLITS`: `train`, `val` or `test`.
        origin: `starter`, `imported` or the stream it came from; evaluation reports one slice per origin.
        input: the file a user would upload.
        truth: the label: a file, or the class name for models whose label is a word.
        attributes: what slices are cut by, e.g. {"dimensions": "2-D"}.
        group: what must stay in one split with it has the same, e.g. a patient; "" : nothing.
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
        prepared: what the network was given, for an explanation; None of a clip, or where it was not kept.
    """

    sample: Any
    result: Result
    image_statistics: dict[str, float]
    prediction_statistics: dict[str, float]
    embedding: FloatArray
    seconds: dict[str, float]
    prepared: Prepared | None = None
